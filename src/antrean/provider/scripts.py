"""Finds the provider's Lua scripts by file name and runs them.

What a script and the pure rules must agree on is written once, in the rules: where a script says `RULE.SILENCE`, the
value of `policy.SILENCE` is put in when the script is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from antrean.provider import pacing, policy

Arg = str | int | float
#: Scripts that stand alone; all others begin with `_gate.lua`.
PLAIN = frozenset({"token_release", "token_forget"})
#: Scripts that need more than that: which file comes between.
BESIDE = {"settle": "_refusals"}
#: Scripts that write nothing, so that they also work where the server refuses every write.
LOOKS = frozenset({"status"})
#: The constants of the rules that scripts use, by the name that the scripts give them.
RULES = {
    "RULE.SILENCE": policy.SILENCE,
    "RULE.NEAR": pacing.NEAR,
    "RULE.USED_UP": pacing.USED_UP,
    "RULE.REFUSED_MIN": pacing.REFUSED_MIN,
    "RULE.REFUSED_MAX": pacing.REFUSED_MAX,
    "RULE.REFUSALS_OF": pacing.REFUSALS_OF,
    "RULE.REFUSED_CUT": pacing.REFUSED_CUT,
    "RULE.REFUSALS_TEST": pacing.REFUSALS_TEST,
    "RULE.DOUBT_TEST": pacing.DOUBT_TEST,
    "RULE.REFUSALS_MISSED": pacing.REFUSALS_MISSED,
    "RULE.OUTAGE_ROW": pacing.OUTAGE_ROW,
    "RULE.HOLD_MS": int(pacing.HOLD_S * 1000),
    "RULE.HOLD_FIRST_MS": int(pacing.HOLD_FIRST_S * 1000),
    "RULE.ASKED_CUT": pacing.ASKED_CUT,
    "RULE.HOLD_ASKED_TIMES": pacing.HOLD_ASKED_TIMES,
    "RULE.HOLD_ASKED_MAX_MS": int(pacing.HOLD_ASKED_MAX_S * 1000),
    "RULE.EVEN_FOR_MS": int(pacing.EVEN_FOR_S * 1000),
}
_RULE = re.compile(r"\bRULE\.[A-Z_]+\b")


def _sources() -> dict[str, str]:
    folder = resources.files("antrean.provider").joinpath("lua")
    texts = {f.name.removesuffix(".lua"): f.read_text() for f in folder.iterdir() if f.name.endswith(".lua")}
    return {name: _whole(name, texts) for name in texts if not name.startswith("_")}


def _whole(name: str, texts: dict[str, str]) -> str:
    if name in PLAIN:
        return texts[name]
    looks = f"local LOOKS = {'true' if name in LOOKS else 'false'}\n"
    beside = texts[BESIDE[name]] if name in BESIDE else ""
    return _RULE.sub(lambda found: str(RULES[found[0]]), looks + texts["_gate"] + beside + texts[name])


SOURCES = _sources()
DIGESTS = {
    name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SOURCES.items()
}


async def run(redis: Redis, name: str, keys: Sequence[str], *args: Arg) -> Any:
    """Run one script once. Raises redis.exceptions.RedisError; no command is sent twice.

    A server that does not know the script has not run it, so sending the source then is no repetition.
    """
    try:
        return await redis.evalsha(DIGESTS[name], len(keys), *keys, *args)  # type: ignore[no-untyped-call, misc, unused-ignore]
    except NoScriptError:
        return await redis.eval(SOURCES[name], len(keys), *keys, *args)  # type: ignore[no-untyped-call, misc, unused-ignore]


def texts(answer: Any) -> list[str]:
    """A script's answer as text, whether or not the client decodes."""
    return [item.decode() if isinstance(item, bytes) else str(item) for item in answer]
