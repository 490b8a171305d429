"""Finds the provider's Lua scripts by file name and runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Arg = str | int | float
#: Scripts that stand for themselves; all others begin with `_gate.lua`.
PLAIN = frozenset({"token_release", "token_forget"})
#: Scripts that write nothing, and so answer where the server refuses all that might write.
LOOKS = frozenset({"status"})


def _sources() -> dict[str, str]:
    folder = resources.files("antrean.provider").joinpath("lua")
    texts = {f.name.removesuffix(".lua"): f.read_text() for f in folder.iterdir() if f.name.endswith(".lua")}
    gate = texts.pop("_gate")
    return {name: text if name in PLAIN else _looks(name) + gate + text for name, text in texts.items()}


def _looks(name: str) -> str:
    return f"local LOOKS = {'true' if name in LOOKS else 'false'}\n"


SOURCES = _sources()
DIGESTS = {
    name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SOURCES.items()
}


async def run(redis: Redis, name: str, keys: Sequence[str], *args: Arg) -> Any:
    """Run one script once. Raises redis.exceptions.RedisError; nothing is resent.

    A server that does not know the script has not run it, so sending its source then is no repetition.
    """
    try:
        return await redis.evalsha(DIGESTS[name], len(keys), *keys, *args)  # type: ignore[no-untyped-call, misc, unused-ignore]
    except NoScriptError:
        return await redis.eval(SOURCES[name], len(keys), *keys, *args)  # type: ignore[no-untyped-call, misc, unused-ignore]


def texts(answer: Any) -> list[str]:
    """A script's answer as text, whether or not the client decodes."""
    return [item.decode() if isinstance(item, bytes) else str(item) for item in answer]
