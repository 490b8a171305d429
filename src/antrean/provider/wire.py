"""One HTTP exchange with the upstream: bounded in time and size, its failures translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from antrean.provider.connection import PORTS
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import CallMeter
from antrean.provider.translate import Effect, lost, read_answer, transport_error

#: Largest JSON answer that is read, in bytes: a page of the SN list or a QR picture is far below.
ANSWER_BYTES_MAX = 8 * 1024 * 1024
#: Longest wait for a TCP connection or a free slot, in seconds, where the whole call may take longer.
CONNECT_MAX_S = 5.0
#: Turns of the loop between the end of a timeout and its effect. On a loop that stood still an answer may have come in
#: time and be read only in the same turn as the timer, or in the next ones if it is long; uvloop runs timers first.
GRACE_TURNS = 32
#: Sent with every request.
HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": "antrean"}
#: Parsed URLs that are kept.
URLS_KEPT_MAX = 16


class Wire:
    """Sends requests of one upstream. `timeout_s`: longest a call may take in all, unless it says otherwise."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        # No httpx client around it: it would look for redirects, proxies and cookies, none of which we want, and that
        # costs 0.12 ms of CPU a call.
        self._transport = transport
        self._urls: dict[str, httpx.URL] = {}

    async def ask(
        self,
        method: str,
        url: str,
        effect: Effect,
        *,
        token: str | None = None,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        private: Iterable[str] = (),
        timeout_s: float | None = None,
        meter: CallMeter | None = None,
    ) -> dict[str, Any]:
        """The JSON object of a good answer; `meter` is told how long it took. Raises ProviderError."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response, body = await self._exchange(
            effect,
            ANSWER_BYTES_MAX,
            timeout_s,
            {
                "method": method,
                "url": url,
                "json": json,
                "params": params,
                "data": data,
                "files": files,
                "headers": headers,
            },
        )
        if meter is not None:
            meter.answer_s = response.extensions.get("answer_s")
        secrets = (*private, token) if token else tuple(private)
        return read_answer(response, body, effect, secrets)

    async def ask_raw(self, url: str, *, token: str | None, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a GET that may answer in JSON or in bare text. Raises ProviderError for any status but 200."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = {"method": "GET", "url": url, "params": params, "headers": headers}
        response, body = await self._exchange(Effect.FREE, ANSWER_BYTES_MAX, None, request)
        if response.status_code != 200:
            read_answer(response, body, Effect.FREE)
            raise Unavailable("the upstream answered with a status we do not know", sent=True)
        return body

    async def download(self, url: str, bytes_max: int) -> bytes:
        """A file. Raises Unavailable."""
        response, body = await self._exchange(Effect.FREE, bytes_max, None, {"method": "GET", "url": url})
        if response.status_code != 200:
            raise Unavailable(
                f"the upstream does not hand out the file (status {response.status_code})", sent=True
            )
        return body

    async def _exchange(
        self, effect: Effect, bytes_max: int, timeout_s: float | None, request: Mapping[str, Any]
    ) -> tuple[httpx.Response, bytes]:
        total_s = self.timeout_s if timeout_s is None else timeout_s
        # Connecting gives up well before the caller does, so that a timeout while connecting is known as one.
        brief_s = min(CONNECT_MAX_S, self.timeout_s / 4)
        timeout = httpx.Timeout(total_s, connect=brief_s, pool=brief_s)
        try:
            prepared = self._prepared(timeout, **request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise transport_error(error, effect) from None
        except ValueError as error:  # text that is no Unicode
            raise Rejected("unsendable", "the order holds text that can not be sent") from error
        body = bytearray()
        try:
            async with _patience(total_s):
                response = await self._transport.handle_async_request(prepared)
                try:
                    async for chunk in _content(response):
                        body += chunk
                        if len(body) > bytes_max:
                            raise lost(effect, "the upstream's answer is too large")
                finally:
                    await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError, OSError) as error:
            raise transport_error(error, effect) from None
        return response, bytes(body)

    def _prepared(
        self,
        timeout: httpx.Timeout,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
    ) -> httpx.Request:
        """Raises httpx.InvalidURL, ValueError."""
        extensions = {"timeout": timeout.as_dict()}
        if json is None:
            own = {**HEADERS, **headers}
            return httpx.Request(
                method, url, headers=own, params=params, data=data, files=files, extensions=extensions
            )
        try:
            body = orjson.dumps(json)
        except orjson.JSONEncodeError as error:
            raise ValueError("not to be put into JSON") from error
        parsed = self._parsed(url)
        # With all headers given here httpx adds none, which would cost as much as the rest of this call.
        typed = {
            "Host": parsed.netloc.decode("ascii"),
            **HEADERS,
            **headers,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        return httpx.Request(
            method, parsed, headers=typed, stream=httpx.ByteStream(body), extensions=extensions
        )

    def _parsed(self, url: str) -> httpx.URL:
        """The URL, parsed once: those that take JSON are few, and the same for each call."""
        known = self._urls.get(url)
        if known is None:
            known = httpx.URL(url)
            if len(self._urls) < URLS_KEPT_MAX:
                self._urls[url] = known
        return known

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


@asynccontextmanager
async def _patience(total_s: float) -> AsyncIterator[None]:
    """`asyncio.timeout` that spares an answer which has arrived and is not read yet. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(None)
    waits: asyncio.Handle

    def expire(turns: int) -> None:
        nonlocal waits
        if turns:
            waits = loop.call_soon(expire, turns - 1)
        else:
            scope.reschedule(loop.time())

    waits = loop.call_later(total_s, expire, GRACE_TURNS)
    try:
        async with scope:
            yield
    finally:
        waits.cancel()


def _content(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body, decompressed. One that is not compressed skips the four generators that httpx puts around it."""
    packed = response.headers.get("content-encoding")
    if packed is not None:
        if "," in packed:  # a slice of what is compressed twice may become gigabytes
            raise httpx.DecodingError("compressed more than once")
        return response.aiter_bytes()
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return aiter(response.stream)


async def reachable(base_url: str, timeout_s: float) -> None:
    """Open and close a TCP connection to the host of `base_url`. Raises Unavailable."""
    parts = urlsplit(base_url)
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or PORTS.get(parts.scheme, 80)
            )
    except (OSError, ValueError, TimeoutError) as error:
        raise Unavailable("no connection to the signing service") from error
    writer.close()
