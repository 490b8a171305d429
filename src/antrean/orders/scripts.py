"""Finds the Lua scripts by file name and runs them: `scripts.run("submit", …)` runs `lua/submit.lua`.

Each script is preceded by the moves of the verbs that it checks and by `lua/_common.lua`, so that a name or a legal
move is written once. What scripts write as `K.ORDER`, `CODE.OK` or `S.QUEUED` is replaced by its value when they
are read: a table built at each run would cost more than most of the scripts. Scripts take no KEYS: they name keys
themselves (one primary, no cluster).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from antrean.orders import books, codes, eta, holding, keys, layout, score, states

Arg = str | int | float | bytes
#: Milliseconds since the epoch; None lets Redis read its own clock, one for all hosts.
Clock = Callable[[], int] | None


_NAME = re.compile(r"\b(?:K|CODE|S|LAYOUT|HOLD|BOOK|SCORE|SPAN)\.[A-Z_]+\b")


def _sources() -> dict[str, str]:
    folder = resources.files("antrean.orders").joinpath("lua")
    texts = {f.name.removesuffix(".lua"): f.read_text() for f in folder.iterdir() if f.name.endswith(".lua")}
    values: dict[str, str] = {}
    for module in (keys, codes, states, layout, holding, books, score, eta):
        values |= module.lua_names()

    def named(text: str) -> str:
        return _NAME.sub(lambda found: values[found[0]], text)

    common = named(texts.pop("_common"))
    return {name: states.lua_table(_verbs(text)) + common + named(text) for name, text in texts.items()}


def _verbs(text: str) -> set[str]:
    """The verbs that a script may check: those it spells, or all where it takes one from its caller."""
    if "check(o, verb" in text:
        return {move.verb for move in states.MOVES}
    return set(re.findall(r"check\(o, '(\w+)'", text))


#: Every script as it is run, by name.
SOURCES = _sources()


class Scripts:
    """The domain's scripts on one Redis. Raises redis.exceptions.RedisError; nothing is resent here."""

    def __init__(self, redis: Redis, clock: Clock = None) -> None:
        self.redis = redis
        self._clock = clock
        self._sha = {
            name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            for name, text in SOURCES.items()
        }

    def now_arg(self) -> int:
        """First ARGV of every script: our time in ms, or 0 for "read the server's clock"."""
        return 0 if self._clock is None else self._clock()

    async def run(self, name: str, *args: Arg) -> Any:
        """Run one script. A script the server does not know yet is loaded first; it has then not run."""
        try:
            return await self.redis.evalsha(self._sha[name], 0, self.now_arg(), *args)  # type: ignore[no-untyped-call, misc, unused-ignore]
        except NoScriptError:
            return await self.redis.eval(SOURCES[name], 0, self.now_arg(), *args)  # type: ignore[no-untyped-call, misc, unused-ignore]

    async def run_many(self, name: str, calls: Sequence[Sequence[Arg]], *tail: Sequence[Arg]) -> list[Any]:
        """Run one script many times in one write to the server; each run is atomic, the batch is not.

        `tail`: commands that follow in the same write (such as WAITAOF). Each answer may be an exception.
        """
        pipe = self.redis.pipeline(transaction=False)
        now = self.now_arg()
        for args in calls:
            pipe.evalsha(self._sha[name], 0, now, *args)
        for command in tail:
            pipe.execute_command(*command)
        return await pipe.execute(raise_on_error=False)

    async def load(self) -> None:
        """Make the server know all scripts, as after a start or a SCRIPT FLUSH."""
        pipe = self.redis.pipeline(transaction=False)
        for text in SOURCES.values():
            pipe.script_load(text)
        await pipe.execute()
