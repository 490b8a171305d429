"""Personal data and secrets are encrypted before they are stored: AES-256-GCM under a ring of keys.

The first key of the ring encrypts and every key decrypts, so a key can be replaced without a moment in which
something is unreadable. What is sealed is bound to its place (`context`): moved to another order's record it does not
open.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
#: Of GCM: random for each sealing, which is safe for 2^32 sealings under one key.
NONCE_BYTES = 12
_KEY_ID = re.compile(r"[a-z0-9-]{1,16}")


class Unreadable(Exception):
    """It was sealed with a key that is not in this ring, for another place, or was changed since."""


@dataclass(frozen=True, slots=True)
class VaultKey:
    """One key of the ring. Its id is no secret: it stands before what the key has sealed."""

    id: str
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls) -> VaultKey:
        """A fresh random key."""
        return cls(f"k{os.urandom(4).hex()}", os.urandom(KEY_BYTES))

    @property
    def text(self) -> str:
        """As it stands in a setting or a key file."""
        return f"{self.id}:{base64.b64encode(self.secret).decode()}"


def parse_ring(text: str) -> list[VaultKey]:
    """Keys as `id:base64`, with commas or line ends between them. Raises ValueError, which holds no key."""
    ring: list[VaultKey] = []
    for entry in re.split(r"[,\n]", text):
        if not entry.strip():
            continue
        key_id, _, encoded = entry.strip().partition(":")
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError("each key is id:base64, its id 1 to 16 lower-case letters, digits and hyphens")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"key {key_id}: what follows the colon is no base64") from None
        if len(secret) != KEY_BYTES:
            raise ValueError(f"key {key_id}: {KEY_BYTES} random bytes are needed, in base64")
        if any(key.id == key_id for key in ring):
            raise ValueError(f"key {key_id} is there twice")
        ring.append(VaultKey(key_id, secret))
    return ring


class Vault:
    """A ring at work. Sealing and opening take a few microseconds and never wait."""

    def __init__(self, ring: Sequence[VaultKey], digest_key: bytes | None = None, note: bytes = b"") -> None:
        """`digest_key` outlives the ring's keys, which seal it; None where no digest is made.

        `note`: the digest key sealed with the first key, as Redis keeps it. By this note a gateway recognises its
        Redis.
        """
        if not ring:
            raise ValueError("the ring has no key")
        self._ciphers = {key.id: AESGCM(key.secret) for key in ring}
        self._digest = None if digest_key is None else hmac.HMAC(digest_key, hashes.SHA256())
        self.primary = ring[0].id
        self.note = note
        #: How the note begins, its nonce included: no two are alike.
        self.mark = note[: len(self.primary) + 1 + NONCE_BYTES]

    @property
    def key_ids(self) -> Iterable[str]:
        """All keys, the one that encrypts first."""
        return self._ciphers.keys()

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt for the place that `context` names: `<key id>.<nonce><ciphertext and tag>`."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.primary].encrypt(nonce, plain, context.encode())
        return self.primary.encode() + b"." + nonce + sealed

    def open(self, sealed: bytes, context: str) -> bytes:
        """What was sealed for that place. Raises Unreadable."""
        key_id = sealing_key(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unreadable(f"sealed with key {key_id}, which is not in the ring")
        body = sealed[len(key_id) + 1 :]
        try:
            return cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], context.encode())
        except (InvalidTag, ValueError):
            raise Unreadable(f"does not open with key {key_id}") from None

    def digest(self, text: str) -> bytes:
        """A keyed digest of 32 bytes, the same for the same text; without the key nobody can try numbers against it."""
        if self._digest is None:
            raise RuntimeError("this vault was opened without the digest key")
        keyed = self._digest.copy()
        keyed.update(text.encode())
        return keyed.finalize()


def sealing_key(sealed: bytes) -> str:
    """The id of the key that sealed this, or a text that is no key's id where it was not sealed by us."""
    return sealed[:17].partition(b".")[0].decode("ascii", "replace")
