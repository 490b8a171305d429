"""How the parts of our URLs are told. Some Pythons' `urlsplit` refuses several hosts, one of them by IPv6. Pure."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

#: Schemes of a Redis URL that names Sentinels in place of one server (see `sentinel.py`).
SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")


def url_parts(url: str) -> SplitResult:
    """`urlsplit`, also for several hosts, of which one may be an IPv6 address. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    if scheme.lower() not in SENTINEL_SCHEMES:
        return urlsplit(url)
    hosts = re.split("[/?#]", rest, maxsplit=1)[0]
    return urlsplit(f"{scheme}{separator}hosts{rest.removeprefix(hosts)}")._replace(netloc=hosts)


def origin(host: str, port: int) -> str:
    """Where a browser on this machine reaches a listener."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://{f'[{reached}]' if ':' in reached and not reached.startswith('[') else reached}:{port}"
