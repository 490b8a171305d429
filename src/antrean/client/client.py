"""The client itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote

import httpx

from antrean.client import stream
from antrean.client.errors import GaveUp, Refused
from antrean.client.models import (
    SETTLED,
    TERMINAL,
    BatchRow,
    Json,
    NewOrder,
    Order,
    Ticket,
    Upload,
)
from antrean.client.retrying import LATER, Patience, problem_of, send

#: Longest single wait at the gateway, in seconds; the API takes up to 60.
POLL_S = 30.0
#: More than the gateway may take for any answer but a wait, in seconds.
TIMEOUT_S = 30.0
#: Rows of a batch.
BATCH_MAX = 100
#: A stream is silent for 15 seconds at most; longer, and the connection is dead.
STREAM_SILENCE_S = 40.0


class Client:
    """Antrean over HTTP with one key. Use as an async context manager, or call `aclose`.

    Every method raises Refused for a problem that a repetition does not change, and GaveUp once `patience` is over.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        patience: Patience | None = None,
        language: str = "id",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`language` of texts for people: `id` or `en`. `transport`: see httpx; for tests and proxies.

        Raises ValueError where `base_url` is no address, or one of neither http nor https, and where `key` is no key.
        """
        if not (key.isascii() and key.isprintable()) or " " in key or not key:
            raise ValueError("that is no key: one has letters, digits and underscores alone")
        try:
            given = httpx.URL(base_url)
        except httpx.InvalidURL as error:
            raise ValueError(f"that is no URL: {error}") from None
        if (
            given.scheme not in ("http", "https")
            or not given.host
            or given.userinfo
            or (given.port or 1) > 65535
        ):
            raise ValueError("the URL must begin with http:// or https:// and name a host, and no user")
        self._patience = patience or Patience()
        self._http = httpx.AsyncClient(
            base_url=given,
            headers={"Authorization": f"Bearer {key}", "Accept-Language": language},
            timeout=httpx.Timeout(TIMEOUT_S),
            transport=transport,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    # ---- orders

    async def submit(self, order: NewOrder, *, idempotency_key: str | None = None) -> Order:
        """Submit an order, with one key for all tries. Give your own key where you may have to come back to it."""
        headers = {"Idempotency-Key": idempotency_key or new_key()}
        response = await self._send("POST", "/v1/orders", json=order, headers=headers)
        return cast("Order", response.json())

    async def submit_batch(self, orders: Sequence[tuple[str, NewOrder]]) -> list[BatchRow]:
        """Submit up to 100 orders, each with its key; rows that are to come later are sent again, alone.

        One row of the answer for each order, in the order given. Raises ValueError for more than 100.
        """
        if len(orders) > BATCH_MAX:
            raise ValueError(f"a batch has at most {BATCH_MAX} orders")
        rows: list[Json] = [{**order, "idempotency_key": key} for key, order in orders]
        results: list[BatchRow | None] = [None] * len(rows)
        end_s = time.monotonic() + self._patience.total_s
        pause_s = self._patience.pause_s
        while missing := [i for i, row in enumerate(results) if row is None or row["status"] in LATER]:
            if (first := results[missing[0]]) is not None:
                if time.monotonic() + pause_s > end_s:
                    break
                self._patience.tell(f"{len(missing)} orders", f"status {first['status']}")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._patience.pause_max_s)
            body = {"orders": [rows[i] for i in missing]}
            answer = (await self._send("POST", "/v1/batches", json=body)).json()
            for i, row in zip(missing, answer["results"], strict=True):
                results[i] = row
        return cast("list[BatchRow]", results)

    async def order(self, order_id: str) -> Order:
        """The order as it stands."""
        return cast("Order", (await self._send("GET", f"/v1/orders/{_safe(order_id)}")).json())

    async def wait(
        self, order_id: str, *, until: frozenset[str] = SETTLED, timeout_s: float = 600.0
    ) -> Order:
        """The order once its state is one of `until`; by default at its end or in a person's hands.

        Raises GaveUp where that takes longer than `timeout_s`.
        """
        end_s = time.monotonic() + timeout_s
        etag, order = "", await self.order(order_id)
        while order["state"] not in until:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise GaveUp(f"order {order_id}", f"state {order['state']}")
            wait_s = min(POLL_S, left_s)
            response = await self._send(
                "GET",
                f"/v1/orders/{_safe(order_id)}",
                params={"wait": f"{wait_s:.3f}"},
                headers={"If-None-Match": etag} if etag else {},
                timeout=wait_s + TIMEOUT_S,
            )
            if response.status_code != httpx.codes.NOT_MODIFIED:
                order = cast("Order", response.json())
            etag = response.headers.get("ETag", etag)
        return order

    async def follow(self, order_id: str, *, last_event_id: str = "") -> AsyncIterator[Order]:
        """Each change of the order as it happens, until its end; a broken stream is taken up where it was."""
        lost_s = time.monotonic()
        pause_s = self._patience.pause_s
        while True:
            last = "the stream ended"
            try:
                async with self._stream(order_id, last_event_id) as response:
                    if response.status_code == httpx.codes.NO_CONTENT:
                        return
                    if response.status_code >= 400:
                        await response.aread()
                        if response.status_code not in LATER and response.status_code < 500:
                            raise Refused(problem_of(response))
                        last = f"status {response.status_code}"
                    else:
                        try:
                            async for event in stream.events(response.aiter_lines()):
                                last_event_id = event.id
                                pause_s = (event.retry_ms or 0) / 1000 or pause_s
                                order = cast("Order", json.loads(event.data))
                                yield order
                                if order["state"] in TERMINAL:
                                    return
                        finally:
                            lost_s = time.monotonic()
            except httpx.TransportError as error:
                last = type(error).__name__
            if time.monotonic() + pause_s > lost_s + self._patience.total_s:
                raise GaveUp(f"order {order_id}", last)
            await asyncio.sleep(pause_s)

    async def orders(
        self, *, state: str = "", office: str = "", reference: str = "", page_size: int = 100
    ) -> AsyncIterator[Order]:
        """All orders that fit, newest first, read page by page."""
        cursor = ""
        while True:
            filters = {"state": state, "office": office, "reference": reference, "cursor": cursor}
            given = {name: value for name, value in filters.items() if value} | {"limit": str(page_size)}
            page = (await self._send("GET", "/v1/orders", params=given)).json()
            for order in page["orders"]:
                yield cast("Order", order)
            if page["next_cursor"] is None:
                return
            cursor = page["next_cursor"]

    async def cancel(self, order_id: str) -> Order:
        """Withdraw it. Raises Refused (`not-cancellable`) once something may have been bought."""
        return cast("Order", (await self._send("POST", f"/v1/orders/{_safe(order_id)}/cancel")).json())

    async def picture(self, order_id: str) -> bytes:
        """The stamp's QR picture, a PNG. Raises Refused (`not-available-yet`)."""
        return (await self._send("GET", f"/v1/orders/{_safe(order_id)}/qr")).content

    async def stamped_document(self, order_id: str) -> bytes:
        """The stamped PDF. Raises Refused (`not-available-yet`)."""
        return (await self._send("GET", f"/v1/orders/{_safe(order_id)}/document")).content

    # ---- documents and tickets

    async def upload(self, pdf: bytes) -> Upload:
        """Upload a PDF to be stamped; one that is sent twice for a lost answer costs room and nothing else."""
        headers = {"Content-Type": "application/pdf"}
        return cast(
            "Upload", (await self._send("POST", "/v1/documents", content=pdf, headers=headers)).json()
        )

    async def ticket(self, token: str) -> Ticket:
        """Where a ticket stands."""
        return cast("Ticket", (await self._send("GET", f"/v1/tickets/{_safe(token)}")).json())

    # ---- ops

    async def get(self, path: str, **query: str) -> Json:
        """Any other answer, such as `/v1/ops/backlog`: see the OpenAPI document."""
        return cast("Json", (await self._send("GET", path, params=query)).json())

    async def put(self, path: str, body: Json) -> Json:
        """Set something, such as `/v1/ops/pause`."""
        return cast("Json", (await self._send("PUT", path, json=body)).json())

    async def delete(self, path: str) -> Json:
        """Lift or end something, such as `/v1/ops/pause`."""
        return cast("Json", (await self._send("DELETE", path)).json())

    async def post(self, path: str, body: Json | None = None) -> Json:
        """Decide something, such as `/v1/orders/{id}/replay`. Not sent again after a lost answer: it might count twice.

        Raises httpx.TransportError where the answer was lost.
        """
        more: dict[str, Any] = {} if body is None else {"json": body}
        return cast("Json", (await self._send("POST", path, repeatable=False, **more)).json())

    # ---- under all of them

    async def _send(self, method: str, path: str, *, repeatable: bool = True, **more: Any) -> httpx.Response:
        return await send(
            lambda: self._http.request(method, path, **more),
            f"{method} {path}",
            self._patience,
            repeatable=repeatable,
        )

    @contextlib.asynccontextmanager
    async def _stream(self, order_id: str, last_event_id: str) -> AsyncIterator[httpx.Response]:
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(TIMEOUT_S, read=STREAM_SILENCE_S)
        path = f"/v1/orders/{_safe(order_id)}/events"
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            yield response


def _safe(part: str) -> str:
    """A piece of a path that stays one piece."""
    return quote(part, safe="")


def new_key() -> str:
    """An Idempotency-Key that nobody else makes."""
    return uuid.uuid4().hex
