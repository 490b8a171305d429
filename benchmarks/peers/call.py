"""The call that every peer makes: one generate at the simulator, on a connection that is kept.

A client belongs to one call at a time: one httpx client shared by many calls costs ten times the CPU.
"""

from __future__ import annotations

import os
from typing import Any

import httpx

URL = os.environ.get("BENCH_GENERATE_URL", "")
HEADERS = {"Authorization": f"Bearer {os.environ.get('BENCH_TOKEN', '')}"}
REDIS_URL = os.environ.get("BENCH_REDIS_URL", "")
#: Jobs in flight at once, over all processes of the peer.
IN_FLIGHT = int(os.environ.get("BENCH_IN_FLIGHT", "100"))
TIMEOUT_S = 30

_clients: list[httpx.Client] = []
_async_clients: list[httpx.AsyncClient] = []


def body(number: int) -> dict[str, Any]:
    """A generate; the upstream counts what it sold by the file's name."""
    return {
        "isUpload": False, "namadoc": "4b", "namafile": f"job-{number}.pdf", "nilaidoc": "10000",
        "namejidentitas": "KTP", "noidentitas": "1271010101900001", "namedipungut": "Siti Aminah",
        "snOnly": False, "nodoc": "SK-1", "tgldoc": "2024-09-04",
    }  # fmt: skip


def generate(number: int) -> None:
    """From a thread or a process. Raises httpx.HTTPError."""
    try:
        client = _clients.pop()
    except IndexError:
        client = httpx.Client(timeout=TIMEOUT_S)
    client.post(URL, json=body(number), headers=HEADERS).raise_for_status()
    _clients.append(client)


async def generate_async(number: int) -> None:
    """On an event loop. Raises httpx.HTTPError."""
    client = _async_clients.pop() if _async_clients else httpx.AsyncClient(timeout=TIMEOUT_S)
    (await client.post(URL, json=body(number), headers=HEADERS)).raise_for_status()
    _async_clients.append(client)
