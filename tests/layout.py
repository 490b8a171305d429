"""What a version of ours left in Redis, as text: written once at that version, read ever since.

`python tests/layout.py NAME` writes one; do it at a release, and never again for that release.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis as BlockingRedis
from redis.asyncio import Redis

FOLDER = Path(__file__).parent / "layouts"


def text(raw: bytes | str) -> str:
    """Bytes as text, other than UTF-8 marked and in base64."""
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(raw).decode()


def raw(given: str) -> bytes:
    """The bytes again."""
    return base64.b64decode(given[7:]) if given.startswith("base64:") else given.encode()


async def dump(redis: Redis) -> dict[str, list[Any]]:
    """Every key: its type and content."""

    async def ask(*command: str | bytes) -> Any:
        return await redis.execute_command(*command)  # type: ignore[no-untyped-call]

    found: dict[str, list[Any]] = {}
    for key in sorted(await ask("KEYS", "*")):
        kind = text(await ask("TYPE", key))
        content: Any
        match kind:
            case "hash":
                content = {text(k): text(v) for k, v in (await ask("HGETALL", key)).items()}
            case "zset":
                scored: list[Any] = await redis.zrange(key, 0, -1, withscores=True)
                content = [[text(member), score] for member, score in scored]
            case "set":
                content = sorted(text(m) for m in await ask("SMEMBERS", key))
            case "stream":
                entries: Any = await redis.xrange(key)
                content = [[text(i), {text(k): text(v) for k, v in f.items()}] for i, f in entries]
            case _:
                content = text(await ask("GET", key))
        found[text(key)] = [kind, content]
    return found


async def load(redis: Redis, name: str) -> dict[str, Any]:
    """Put a layout into an empty server; answers what its writer noted beside it."""
    stored = json.loads((FOLDER / f"{name}.json").read_text())
    for key, (kind, content) in stored["keys"].items():
        match kind:
            case "hash":
                await redis.hset(raw(key), mapping={raw(k): raw(v) for k, v in content.items()})
            case "zset":
                await redis.zadd(raw(key), {raw(m): score for m, score in content})
            case "set":
                await redis.sadd(raw(key), *(raw(m) for m in content))
            case "stream":
                for entry, fields in content:
                    await redis.xadd(raw(key), {raw(k): raw(v) for k, v in fields.items()}, id=entry)
            case _:
                await redis.set(raw(key), raw(content))
    notes: dict[str, Any] = stored["notes"]
    return notes


async def write(redis: Redis, name: str) -> None:
    """Orders in every state that a stopped fleet leaves behind, as the code of today writes them."""
    from antrean.provider.errors import SerialUnusable
    from orders_support import World

    world = World(redis)
    await world.beat("w1")
    orders = {
        "completed": await world.submit(),
        "stamped": await world.affix(),
        "bought": await world.affix(),
    }
    await world.worker("w1").run(orders["completed"].id)
    for _ in range(2):
        await world.worker("w1").run(orders["stamped"].id)
    await world.worker("w1").run(orders["bought"].id)
    orders["unknown"] = await world.submit(idempotency_key="unknown")
    world.upstream.faults["generate"] = ["lost"]
    await world.worker("w1").run(orders["unknown"].id)
    orders["attention"] = await world.affix()
    await world.worker("w1").run(orders["attention"].id)
    world.upstream.faults["stamp"] = [SerialUnusable("97", "no")]
    await world.worker("w1").run(orders["attention"].id)
    orders["queued"] = await world.submit(idempotency_key="queued", deadline_ms=world.now_ms + 86_400_000)
    orders["buying"] = await world.submit()

    async def killed(_: str) -> None:
        raise asyncio.CancelledError

    world.upstream.before_answer = killed
    with contextlib.suppress(asyncio.CancelledError):
        await world.worker("w1").run(orders["buying"].id)
    notes = {
        "now_ms": world.now_ms,
        "orders": {kind: order.id for kind, order in orders.items()},
        "sold": [[sale.serial_number, sale.file, sale.stamped_on] for sale in world.upstream.sold],
        "documents": {k: text(v) for k, v in world.documents.kept.items()},
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({"notes": notes, "keys": await dump(redis)}, indent=1, sort_keys=True) + "\n")


async def _main(name: str) -> None:
    import subprocess

    from antrean.config.embedded_valkey import find_server

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        socket = f"{folder}/s"
        argv = [str(find_server().path), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        while not Path(socket).exists():
            time.sleep(0.05)
        BlockingRedis.from_url(f"unix://{socket}").ping()
        redis = Redis.from_url(f"unix://{socket}", protocol=2)
        await write(redis, name)
        await redis.aclose()
        server.kill()
        server.wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
