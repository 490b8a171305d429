"""Whether a webhook may be sent to an address, as far as its text tells. No name is resolved here.

A host is read as browsers and resolvers read it (WHATWG URL, inet_aton), so that `127.1`, `0x7f.1` and
`2130706433` are what they are: loopback. Where a name leads is looked at when a webhook is sent.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from antrean.orders.addresses import NoHost, address_of, is_public

CHARS_MAX = 2048
#: Names that never leave a machine or a network (RFC 6761, 6762, 8375; `.internal` is reserved by ICANN).
_LOCAL_SUFFIXES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "test",
    "invalid",
    "onion",
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


class Refused(ValueError):
    """No webhook goes there. `rule` is stable."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


def check(url: str, *, allow_private: bool) -> None:
    """Raises Refused where a webhook may not be sent to this URL."""
    if len(url) > CHARS_MAX:
        raise Refused("string-too-long", f"must have at most {CHARS_MAX} characters")
    if not url.isascii() or not url.isprintable() or any(c in url for c in ' \\"<>^`{|}'):
        raise Refused("url", "must be a plain ASCII URL")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("url", "must be a URL") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise Refused("https", "must begin with https://")
    if not host or port == 0:
        raise Refused("url", "must name a host")
    if "@" in parts.netloc:
        raise Refused("no-userinfo", "must not hold a user name or a password")
    if parts.fragment:
        raise Refused("url", "must not hold a fragment")
    try:
        address = address_of(host)
    except NoHost:
        raise Refused("url", "must name a host") from None
    if address is None:
        _check_name(host.removesuffix("."), allow_private)
    elif not allow_private and not is_public(address):
        raise Refused(
            "public-address", "must not lead to a loopback, private, link-local or reserved address"
        )


def _check_name(name: str, allow_private: bool) -> None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("url", "must name a host")
    local = len(labels) == 1 or any(name == s or name.endswith("." + s) for s in _LOCAL_SUFFIXES)
    if local and not allow_private:
        raise Refused("public-address", "must not lead to a name inside a machine or a private network")
