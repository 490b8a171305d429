"""Sessions of the pages: a key is shown once, and a cookie stands for it until the end of a working day.

A session is kept on the server, as a hash of the cookie's text beside the digest of its key. So signing out ends it
at once and everywhere; what is in Redis opens nothing; and a revoked key takes its sessions with it, since every
request asks for the key again. A signed cookie would save one look-up and could do none of the three.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked

#: Life of a session in seconds: a long working day.
SESSION_S = 12 * 3600
#: What a page of ours sends with every call that changes something. A form or an image of another site can not
#: set a header, and a script of another site has to ask first (a CORS preflight), which nobody here ever grants.
#: SameSite=Strict alone would let in a neighbour on the same registrable domain.
PAGE_HEADER = "X-Antrean-Page"
#: Whose page it is, as `role:office`. All tabs share the one cookie: after another office signed in beside it, a page
#: would order under that office's name. Links and pictures can not send it, and change nothing.
OWNER_HEADER = "X-Antrean-Session-Of"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is open: the digest of its key, and when it ends in ms since the epoch."""

    key_digest: str
    expires_ms: int


class Sessions:
    """The open sessions in Redis. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._redis = redis
        self._now_ms = now_ms

    async def open(self, key_digest: str) -> tuple[str, Session]:
        """A new session for a key that was verified: the cookie's text, which is kept nowhere, and the session."""
        token = secrets.token_urlsafe(32)
        session = Session(key_digest, self._now_ms() + SESSION_S * 1000)
        value = f"{session.key_digest} {session.expires_ms}"
        await asked(self._redis.set(_name(token), value, ex=SESSION_S))
        return token, session

    async def find(self, token: str) -> Session | None:
        """The session of this cookie; None where there is none, or none any more."""
        if not _TOKEN.fullmatch(token):
            return None
        value = await asked(self._redis.get(_name(token)))
        if value is None:
            return None
        digest, expires_ms = value.decode().split()
        return Session(digest, int(expires_ms))

    async def close(self, token: str) -> None:
        """End a session, if there is one."""
        if _TOKEN.fullmatch(token):
            await asked(self._redis.delete(_name(token)))


def is_https(request: web.Request) -> bool:
    """Whether the browser speaks https, to us or to the proxy before us."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def cookie_name(request: web.Request) -> str:
    """Over https a browser takes a `__Host-` cookie from this very host alone, so no neighbour can plant one."""
    return "__Host-antrean" if is_https(request) else "antrean"


def cookie_token(request: web.Request) -> str | None:
    """The text of the session cookie that came with this request."""
    return request.cookies.get(cookie_name(request))


def set_cookie(request: web.Request, response: web.StreamResponse, token: str) -> None:
    """Let the browser keep the session, out of reach of scripts and of other sites."""
    response.set_cookie(
        cookie_name(request),
        token,
        max_age=SESSION_S,
        path="/",
        secure=is_https(request),
        httponly=True,
        samesite="Strict",
    )


def drop_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser forget it."""
    response.del_cookie(
        cookie_name(request), path="/", secure=is_https(request), httponly=True, samesite="Strict"
    )


def _name(token: str) -> str:
    return keys.SESSION + hashlib.sha256(token.encode()).hexdigest()
