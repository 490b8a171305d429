"""One POST to an address that a stranger chose: looked up, checked, and then connected to that very address.

A name is resolved once. Every address it has must be public, and the connection goes to one of those addresses and
not to the name. So a name that points to a private address a moment later (DNS rebinding) gains nothing. TLS still
checks the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from antrean.orders.addresses import is_public

#: Longest time for one POST, look-up included, and for one connection, in seconds.
TOTAL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 4.0
#: Addresses of a name that are tried one after another.
ADDRESSES_MAX = 3
#: An answer is read no further than this, in bytes, and no longer, in seconds: only its status counts.
ANSWER_BYTES_MAX = 16 * 1024
ANSWER_READ_S = 2.0

#: Most names looked up at one time, in all and for one office. A look-up keeps its thread until the system gives up.
RESOLVERS_MAX, RESOLVERS_EACH_MAX = 32, 4
#: Longest wait of a look-up for an earlier one of its office to end, in seconds: most take milliseconds.
ROOM_WAIT_S = 1.0

#: Addresses of a host and port, as texts, asked for an office. Raises OSError where there is none.
Resolve = Callable[[str, int, str], Awaitable[list[str]]]


class NamesSlow(OSError):
    """An office has as many look-ups under way as it may, and none of them ends."""


class Undelivered(Exception):
    """No answer came, or the address may not be called. The message is short and holds no URL."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A status, and how long we were asked to wait, in seconds."""

    status: int
    retry_after_s: float | None


class SystemResolver:
    """The system's resolver, on threads of its own: slow name servers of strangers must not take anybody else's."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS_MAX, thread_name_prefix="webhook-names")
        self._unfinished: Counter[str] = Counter()
        #: By office, host and port.
        self._under_way: dict[tuple[str, str, int], Future[list[str]]] = {}
        #: Set, and replaced, when a look-up ends.
        self._ended = asyncio.Event()

    async def __call__(self, host: str, port: int, office: str) -> list[str]:
        """Addresses of a host. Raises OSError where there is none, NamesSlow where the office's others do not end.

        Whoever asks while the same is looked up waits for that: many notices at once are not too many names.
        """
        name = (office, host, port)
        if name not in self._under_way:
            await self._room(office)
        if (looking := self._under_way.get(name)) is None:
            loop = asyncio.get_running_loop()
            self._unfinished[office] += 1
            looking = self._under_way[name] = self._threads.submit(self._look_up, host, port)

            def finished(_: object) -> None:
                with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                    loop.call_soon_threadsafe(self._finished, name)

            looking.add_done_callback(finished)
        return await asyncio.shield(asyncio.wrap_future(looking))

    async def _room(self, office: str) -> None:
        try:
            async with asyncio.timeout(ROOM_WAIT_S):
                while self._unfinished[office] >= RESOLVERS_EACH_MAX:
                    await self._ended.wait()
        except TimeoutError:
            raise NamesSlow from None

    def _finished(self, name: tuple[str, str, int]) -> None:
        self._ended.set()
        self._ended = asyncio.Event()
        office, *_ = name
        del self._under_way[name]
        self._unfinished[office] -= 1
        if not self._unfinished[office]:
            del self._unfinished[office]

    @staticmethod
    def _look_up(host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Outbound:
    """Sends webhooks. `allow_private`: private addresses may be called, where receivers are on the office's network."""

    def __init__(
        self, *, allow_private: bool, resolver: Resolve | None = None, verify: ssl.SSLContext | None = None
    ) -> None:
        self._allow_private = allow_private
        self._system = SystemResolver()
        self._resolve = resolver or self._system
        # No connection is kept: one that was made for a name must not carry a request for another name.
        self._client = httpx.AsyncClient(
            verify=verify or httpx.create_ssl_context(trust_env=False),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(TOTAL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, office: str) -> Answered:
        """One POST for an office. Raises Undelivered."""
        try:
            async with asyncio.timeout(TOTAL_TIMEOUT_S):
                response = await self._post(url, headers, body, office)
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        await _read_out(response)
        return Answered(response.status_code, _retry_after_s(response.headers.get("retry-after", "")))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes, office: str) -> httpx.Response:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise Undelivered("the address is no URL") from None
        for address in await self._addresses(host, port, office):
            shown = f"[{address}]" if ":" in address else address
            target = parts._replace(netloc=f"{shown}:{port}", fragment="").geturl()
            try:
                return await self._send(target, host, {**headers, "host": parts.netloc}, body)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                reason = _connect_fault(error)
            except httpx.TimeoutException:
                raise Undelivered("no answer in time") from None
            except (httpx.HTTPError, httpx.InvalidURL):
                raise Undelivered("the connection broke") from None
        raise Undelivered(reason)

    async def _addresses(self, host: str, port: int, office: str) -> list[str]:
        try:
            found = await self._resolve(host, port, office)
            addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
        except NamesSlow:
            raise Undelivered("names of this office are looked up slowly") from None
        except (OSError, ValueError, UnicodeError):
            raise Undelivered("the name has no address") from None
        if not addresses:
            raise Undelivered("the name has no address")
        # One private address condemns the name: whoever mixes them with public ones means no good.
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise Undelivered("the name leads to a private address")
        return [str(address) for address in addresses[:ADDRESSES_MAX]]

    async def _send(self, target: str, host: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        # TLS names a host without the dot at its end (RFC 6066), and so does its certificate.
        request = self._client.build_request(
            "POST", target, headers=headers, content=body, extensions={"sni_hostname": host.removesuffix(".")}
        )
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        """Close the client and the look-up threads."""
        self._system.close()
        await self._client.aclose()


async def _read_out(response: httpx.Response) -> None:
    """Read an answer's body to a bound, so that most receivers end well. The status, which counts, is here already."""
    try:
        async with asyncio.timeout(ANSWER_READ_S):
            size = 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > ANSWER_BYTES_MAX:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass
    finally:
        await response.aclose()


def _connect_fault(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return "its certificate is not in order"
        cause = cause.__cause__ or cause.__context__
    return "no connection"


def _retry_after_s(text: str) -> float | None:
    """Seconds, or the time until a date (RFC 9110); None for anything else."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return max(at.timestamp() - time.time(), 0.0) if at.tzinfo is not None else None
