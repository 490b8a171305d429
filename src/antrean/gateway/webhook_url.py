"""Whether a webhook may be sent to an address, as far as its text tells. No name is resolved here.

A host is read as browsers and resolvers read it (WHATWG URL, inet_aton), so that `127.1`, `0x7f.1` and
`2130706433` are what they are: loopback. Where a name leads is looked at when a webhook is sent.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

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
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
#: IPv6 prefixes that carry an IPv4 address which decides: NAT64, its local form, 6to4, IPv4-compatible.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class Refused(ValueError):
    """No webhook goes there. `rule` is stable."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message


def check(url: str, *, allow_private: bool) -> None:
    """Raises Refused where a webhook may not be sent to this URL."""
    if len(url) > CHARS_MAX:
        raise Refused("too-long", f"must have at most {CHARS_MAX} characters")
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
    address = address_of(host)
    if address is None:
        _check_name(host.removesuffix("."), allow_private)
    elif not allow_private and not is_public(address):
        raise Refused(
            "public-address", "must not lead to a loopback, private, link-local or reserved address"
        )


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a host is, in any spelling; None for a name. Raises Refused for half an address."""
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            raise Refused("url", "must name a host") from None
    labels = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return None
    if len(labels) > 4 or not all(_NUMBER.fullmatch(label) for label in labels):
        raise Refused("url", "must name a host")
    try:
        *first, last = (_number(label) for label in labels)
    except ValueError:
        raise Refused("url", "must name a host") from None
    if any(n > 255 for n in first) or last >= 256 ** (4 - len(first)):
        raise Refused("url", "must name a host")
    value = last + sum(n << (8 * (3 - i)) for i, n in enumerate(first))
    return ipaddress.IPv4Address(value)


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address, and the one it may carry, belongs to the public internet."""
    carried: ipaddress.IPv4Address | None = None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64_LOCAL or address.teredo is not None:
            return False
        carried = address.ipv4_mapped or address.sixtofour
        if carried is None and (address in _NAT64 or address in _COMPATIBLE):
            carried = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if carried is not None:
        return is_public(carried)
    return address.is_global and not address.is_multicast


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") and len(label) > 1 else int(label)


def _check_name(name: str, allow_private: bool) -> None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("url", "must name a host")
    local = len(labels) == 1 or any(name == s or name.endswith("." + s) for s in _LOCAL_SUFFIXES)
    if local and not allow_private:
        raise Refused("public-address", "must not lead to a name inside a machine or a private network")
