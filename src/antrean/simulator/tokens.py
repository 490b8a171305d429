"""Bearer tokens as the upstream gives them: a JWT whose `exp` a client may read."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Final

import orjson

#: Longest token that is looked at, in characters.
TOKEN_CHARS_MAX: Final = 4_096


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class TokenDesk:
    """Gives out and checks JWTs signed with HS256. `clock`: Unix seconds; `ttl_s`: life of a token."""

    def __init__(
        self, secret: bytes, user: str, user_id: str, ttl_s: float, clock: Callable[[], float]
    ) -> None:
        self._secret = secret
        self._user = user
        self._user_id = user_id
        self._ttl_s = ttl_s
        self._clock = clock
        self._era = 0
        self._issued = 0
        self._header = _encode(orjson.dumps({"alg": "HS256", "typ": "JWT"}))

    def issue(self) -> str:
        """A new token."""
        now = self._clock()
        self._issued += 1
        claims = {
            "sub": self._user,
            "id": self._user_id,
            "iat": int(now),
            "exp": int(now + self._ttl_s),
            "jti": f"{self._era}.{self._issued}",
        }
        signed = f"{self._header}.{_encode(orjson.dumps(claims))}"
        return f"{signed}.{self._signature(signed)}"

    def is_good(self, token: str) -> bool:
        """Whether the token is ours, of this era, and not past its `exp`."""
        signed, _, signature = token[:TOKEN_CHARS_MAX].rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return False
        payload = signed.partition(".")[2]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        era = int(claims["jti"].partition(".")[0])
        return era == self._era and self._clock() < claims["exp"]

    def end_all(self) -> None:
        """Every token given out so far is dead from now on."""
        self._era += 1

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._secret, signed.encode(), "sha256"))
