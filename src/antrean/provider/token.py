"""The login token: one for all workers, kept in Redis, renewed by one of them before it expires.

The token is a secret: it is in Redis and in memory, never in a log, a message or a URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from antrean.provider import scripts
from antrean.provider.errors import ProviderError, Unavailable
from antrean.provider.translate import LoginFailed, TokenRefused

log = structlog.get_logger(__name__)

#: Life in seconds of a token whose expiry can not be read, or lies before its making because a clock is wrong here or
#: there. If it is shorter, code 01 tells us.
LIFE_UNKNOWN_S = 3600.0
#: A number beyond this is no time, in seconds or in milliseconds.
TIME_MAX = 1e14
#: A token is renewed when less than this share of its life is left, and at the latest so many seconds before its end.
RENEW_SHARE = 0.1
RENEW_MAX_S = 300.0
#: For this long, in seconds, a failed login counts for all workers, so that they do not all try one after another.
FAILURE_TOLD_S = 0.3
#: No worker holds the login lock for longer than this, in seconds, whatever its settings.
LOCK_MAX_S = 900.0
LOGIN_REFUSED = "the upstream refuses our login"
#: Seconds between two looks of a worker that waits for another's login.
LOOK_S = 0.1

Login = Callable[[], Awaitable[str]]


def payload(token: str) -> dict[str, Any]:
    """What a JWT says of itself (not verified: it is the upstream's to verify); empty where it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        text = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def life_s(token: str, now_s: float) -> float:
    """Seconds for which the token may be used, from `now_s` (Unix time), with the margin for renewing taken off.

    With `iat` beside `exp` the life is their difference, so that a clock of ours that is wrong does no harm.
    """
    claims = payload(token)
    exp, iat = _time(claims.get("exp")), _time(claims.get("iat"))
    full_s = LIFE_UNKNOWN_S
    if exp is not None and iat is not None and iat < exp:
        full_s = exp - iat
    elif exp is not None and now_s < exp:
        full_s = exp - now_s
    return full_s - min(RENEW_MAX_S, full_s * RENEW_SHARE)


def _time(claim: object) -> float | None:
    """A claim that is a time, or None."""
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not 0 <= claim < TIME_MAX:
        return None
    return float(claim)


class SharedToken:
    """The account's token. `account` tells accounts apart in Redis; only its hash is used.

    `wait_s`: longest wait for another worker's login, and the lease of the lock on it. `now_s`: Unix time.
    """

    def __init__(
        self,
        redis: Redis,
        key_prefix: str,
        account: str,
        *,
        wait_s: float = 30.0,
        now_s: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        digest = hashlib.sha256(account.encode()).hexdigest()[:16]
        base = f"{key_prefix}token:{digest}"
        self._key, self._lock, self._failed = base, f"{base}:lock", f"{base}:failed"
        self._redis = redis
        self._wait_s = wait_s
        self._now_s = now_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._held: tuple[str, float] | None = None
        self._turn = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether this process holds a token that is still good."""
        return self._in_memory() is not None

    async def held(self) -> str | None:
        """A token that is still good, ours or another worker's; None where somebody has to log in.

        Raises LoginFailed with Redis away: workers do not log in one by one for a token that they can not share.
        """
        if (token := self._in_memory()) is not None:
            return token
        try:
            stored: Any = await self._redis.hmget(self._key, ["token", "ends_ms"])  # type: ignore[misc, unused-ignore]
        except (RedisError, OSError) as error:
            raise LoginFailed("the shared token can not be read") from error
        if stored[0] is None or stored[1] is None:
            return None
        token, ends_ms = scripts.texts(stored)
        ends_s = int(ends_ms) / 1000
        if ends_s <= self._now_s():
            return None
        self._held = (token, ends_s)
        return token

    async def get(self, login: Login) -> str:
        """A good token. Where there is none, one worker of the fleet logs in and the others wait, at most `wait_s`.

        Raises LoginFailed.
        """
        if (token := await self.held()) is not None:
            return token
        async with self._turn:  # one of this process asks for the lock, the others find the token
            return await self._get_or_login(login)

    async def renew(self, login: Login) -> str:
        """Log in now, whatever others do, and share the token. One upstream call. Raises LoginFailed."""
        token = await _try(login)
        await self._finish("", token)
        return token

    async def refused(self, token: str) -> None:
        """The upstream does not take `token`: forget it, unless a newer one replaced it already. Raises LoginFailed."""
        if self._held is not None and self._held[0] == token:
            self._held = None
        try:
            await scripts.run(self._redis, "token_forget", (self._key,), token)
        except (RedisError, OSError) as error:
            raise LoginFailed("the shared token can not be changed") from error

    def _in_memory(self) -> str | None:
        if self._held is not None and self._held[1] > self._now_s():
            return self._held[0]
        return None

    async def _get_or_login(self, login: Login) -> str:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._wait_s
        owner = uuid.uuid4().hex
        while True:
            if (token := await self.held()) is not None:
                return token
            try:
                await self._require_not_just_failed()
                wait_ms = int(self._wait_s * 1000)
                ours = await self._redis.set(self._lock, owner, nx=True, px=wait_ms)
                if not ours and await self._redis.pttl(self._lock) > LOCK_MAX_S * 1000:
                    # The server's clock was set back, and the lock would outlive its holder by as much.
                    # Soon enough for us to have our turn while we wait.
                    await self._redis.pexpire(self._lock, wait_ms // 2)
            except (RedisError, OSError) as error:
                await self._finish(owner, "")  # the lock may be ours without our knowing
                raise LoginFailed("the shared token can not be read") from error
            if ours:
                return await self._login(owner, login)
            if loop.time() >= end:
                raise LoginFailed("another worker's login takes too long")
            await asyncio.sleep(LOOK_S * self._rng.uniform(0.5, 1.5))

    async def _require_not_just_failed(self) -> None:
        try:
            told_ms = await self._redis.pttl(self._failed)
        except (RedisError, OSError) as error:
            raise LoginFailed("the shared token can not be read") from error
        if -2 < told_ms <= FAILURE_TOLD_S * 1000:
            raise LoginFailed("the login has just failed")

    async def _login(self, owner: str, login: Login) -> str:
        token = ""
        try:
            # Between our look and our lock another one may have logged in, or failed to.
            if (stored := await self.held()) is not None:
                return stored
            await self._require_not_just_failed()
            token = await _try(login)
        finally:
            await self._finish(owner, token)
        return token

    async def _finish(self, owner: str, token: str) -> None:
        now_s = self._now_s()
        # Not 0: no token would be shared then, and all would be told that the login has failed.
        life_ms = max(1, int(life_s(token, now_s) * 1000)) if token else 0
        if token:
            self._held = (token, now_s + life_ms / 1000)
        keys = (self._lock, self._key, self._failed)
        try:
            await scripts.run(
                self._redis,
                "token_release",
                keys,
                owner,
                token,
                life_ms,
                int(FAILURE_TOLD_S * 1000),
                int(now_s * 1000),
            )
        except (RedisError, OSError) as error:
            log.warning("token not shared", error=type(error).__name__)


async def _try(login: Login) -> str:
    try:
        return await login()
    except TokenRefused as error:  # status 401 or 403, or code 01: there was no token yet
        raise LoginFailed(LOGIN_REFUSED, sent=True, ours=True) from error
    except Unavailable as error:
        wait_s = error.retry_after_s
        raise LoginFailed(error.message, sent=error.sent, retry_after_s=wait_s, ours=True) from error
    except ProviderError as error:
        # A login that is refused is a fault of the account, not of the order that happens to need it.
        raise LoginFailed(LOGIN_REFUSED, sent=True, ours=True) from error
