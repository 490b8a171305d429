"""Internet addresses, in any spelling, and which of them are public. Pure; no name is resolved here."""

from __future__ import annotations

import ipaddress
import re
from typing import TypeAlias

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
#: IPv6 prefixes that carry an IPv4 address which decides: NAT64, its local form, 6to4, IPv4-compatible.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
#: Taken for public by `ipaddress`, and not, or not any more: translated IPv4, site-local, segment routing,
#: documentation, relays of 6to4 (RFC 2765, 3879, 9602, 9637, 7526).
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in ("::ffff:0:0:0/96", "fec0::/10", "5f00::/16", "3fff::/20", "192.88.99.0/24")
)
#: Public by number, and yet the inside of a cloud: Azure's host answers there.
_METADATA = frozenset({ipaddress.IPv4Address("168.63.129.16")})


class NoHost(ValueError):
    """Neither a name nor an address."""


def address_of(host: str) -> Address | None:
    """The address that a host is, in any spelling; None for a name. Raises NoHost for half an address."""
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            raise NoHost from None
    labels = host.removesuffix(".").split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return None
    if len(labels) > 4 or not all(_NUMBER.fullmatch(label) for label in labels):
        raise NoHost
    try:
        *first, last = (_number(label) for label in labels)
    except ValueError:
        raise NoHost from None
    if any(n > 255 for n in first) or last >= 256 ** (4 - len(first)):
        raise NoHost
    value = last + sum(n << (8 * (3 - i)) for i, n in enumerate(first))
    return ipaddress.IPv4Address(value)


def is_public(address: Address) -> bool:
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
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and address not in _METADATA


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") and len(label) > 1 else int(label)
