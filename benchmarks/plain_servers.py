"""What accepting is compared with: aiohttp that answers a constant, and aiohttp with one durable MULTI a request.

Run as a process: `python -m benchmarks.plain_servers constant|multi PORT REDIS_URL`.
"""

from __future__ import annotations

import resource
import sys
import uuid

import uvloop
from aiohttp import web
from redis.asyncio import BlockingConnectionPool, Redis

#: To Redis: more of them are slower here.
CONNECTIONS = 64
CONSTANT = b'{"status":"accepted"}'


def _app(kind: str, redis_url: str) -> web.Application:
    app = web.Application()
    redis = Redis.from_pool(
        BlockingConnectionPool.from_url(redis_url, max_connections=CONNECTIONS, timeout=30)
    )

    async def constant(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=CONSTANT, status=202, content_type="application/json")

    async def multi(request: web.Request) -> web.Response:
        body = await request.read()
        order = uuid.uuid4().hex
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(f"plain:{order}", body)
            pipe.rpush("plain:queue", order)
            await pipe.execute()
        return web.Response(body=CONSTANT, status=202, content_type="application/json")

    app.router.add_post("/v1/orders", constant if kind == "constant" else multi)
    return app


def main() -> None:
    """Serve until killed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    kind, port, redis_url = sys.argv[1:]
    web.run_app(
        _app(kind, redis_url),
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
