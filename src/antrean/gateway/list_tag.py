"""The tag of an office's list of orders, from one small look at Redis.

A counter's page asks for its list all day, mostly in vain. A page that gives the tag back as `If-None-Match` is told
so without one order being read (RFC 9110, 13.1.2).
"""

from __future__ import annotations

import hashlib
import zlib

from aiohttp import web

from antrean.gateway import exchange
from antrean.gateway.routes import PRINCIPAL
from antrean.gateway.services import SERVICES
from antrean.orders import listing

#: A tag ends after this time, in seconds: places in line, and times, change without a change of the office's own
#: orders. The longer one is for an office whose orders are all at their end, or all stand still.
MOVING_S, STILL_S = 10, 60


async def list_tag(request: web.Request, office: str, now_s: float) -> str:
    """Names what a list of this office's orders answers at `now_s`. Raises StoreUnavailable."""
    services, principal = request.app[SERVICES], request[PRINCIPAL]
    changes = await listing.changes(services.parts.redis, office)
    outlook = (await services.seen()).outlook
    span_s = MOVING_S if changes.open and not outlook.all_stand_still else STILL_S
    # The tags of all offices must not end at the same moment.
    shifted_s = now_s + zlib.crc32(office.encode()) % span_s
    said = (
        office,
        changes,
        outlook.stops,
        span_s,
        int(shifted_s // span_s),
        request.query_string,
        principal.role,
        exchange.language(request),
    )
    return f'"{hashlib.blake2s(repr(said).encode(), digest_size=12).hexdigest()}"'
