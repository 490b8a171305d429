"""What stands before every upstream call: it counts the call and lets the faults that befall it act.

A call is carried out after `slow` and the configured latency, even if the client has gone by then, as a real server
would. `refuse` ends the connection with a reset once the request was read: the port goes on listening, since the
controls are on it. To a client a reset is not a refused connection; stop the process for one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Final

from aiohttp import web

from antrean.simulator.answers import INVALID, TOKEN_BAD, BadRequest, answer, refused
from antrean.simulator.capacity import Capacity, Verdict
from antrean.simulator.faults import Drawn, Fault
from antrean.simulator.machine import Handler, Simulator

#: How often a call that hangs looks whether its fault has run out or its client has gone, in seconds.
HANG_LOOK_S: Final = 0.5
_PAGE_503: Final = b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"
_PAGE_200: Final = b"<!DOCTYPE html><html><body><h1>Sistem sedang dalam pemeliharaan</h1></body></html>"


class TokenRefused(Exception):
    """The bearer token is missing, expired or unknown."""


class ConnectionCut(Exception):
    """The call gets no answer: the connection ends with a reset."""


def gated(
    simulator: Simulator, kind: str, handler: Handler
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The handler for `kind`, counted and open to faults."""

    async def call(request: web.Request) -> web.StreamResponse:
        book = simulator.calls
        entry = book.begin(kind, simulator.clock(), simulator.faults.covers_outage(kind))
        status: int | None = None
        try:
            response = await _through(simulator, request, simulator.faults.draw(kind), handler)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            raise
        except ConnectionCut:
            _reset_connection(request)
            return web.Response(status=503)
        finally:
            book.end(entry, simulator.clock(), status)
        return response

    return call


async def _through(
    simulator: Simulator, request: web.Request, drawn: Drawn, handler: Handler
) -> web.StreamResponse:
    # The body is read first, so that a client never sees its sending fail where it waits for an answer.
    if request.content_type != "multipart/form-data":
        await request.read()
    with ExitStack() as held:
        rooms: list[Capacity] = []
        # Room is asked for first, so that a slow call takes up room while it waits.
        for fault in sorted(drawn.faults, key=lambda each: each.spec.kind == "slow"):
            early = await _before(simulator, request, drawn, fault, held, rooms)
            if early is not None:
                return early
        if simulator.config.latency_s > 0:
            await asyncio.sleep(simulator.config.latency_s)
        if any(room.collapsed(simulator.clock()) for room in rooms):
            return _down()
        response = await _carry_out(simulator, request, drawn, handler)
        for fault in drawn.faults:
            response = await _after(drawn, fault, response)
        return response


async def _carry_out(
    simulator: Simulator, request: web.Request, drawn: Drawn, handler: Handler
) -> web.Response:
    try:
        return await handler(simulator, request, drawn)
    except TokenRefused:
        return refused(TOKEN_BAD, "Token expired", int(simulator.modes.bad_token_http))
    except BadRequest:
        return refused(INVALID, "Body must be a JSON object", 400)


async def _before(
    simulator: Simulator,
    request: web.Request,
    drawn: Drawn,
    fault: Fault,
    held: ExitStack,
    rooms: list[Capacity],
) -> web.Response | None:
    """Let a fault act before the call is carried out; a response ends the call here."""
    params = fault.spec.params
    match fault.spec.kind:
        case "refuse":
            drawn.hit(fault)
            raise ConnectionCut
        case "down":
            drawn.hit(fault)
            return _down(params["retry_after_s"])
        case "hang":
            drawn.hit(fault)
            await _hang(simulator, request, fault)
            raise ConnectionCut
        case "error" if not params["commit"]:
            drawn.hit(fault)
            return _error(params["status"])
        case "garbage" if not params["commit"]:
            drawn.hit(fault)
            return _html(_PAGE_200)
        case "half_json" if not params["commit"]:
            drawn.hit(fault)
            return _halved(answer({"statusCode": "00", "message": "success", "result": {}}))
        case "retry_after":
            drawn.hit(fault)
            headers = {"Retry-After": str(params["retry_after_s"])}
            return web.Response(status=params["status"], headers=headers, text="Too Many Requests")
        case "slow":
            drawn.hit(fault)
            await asyncio.sleep(simulator.faults.slow_s(fault))
        case "capacity" | "one_slot":
            return await _ask_for_room(simulator, drawn, fault, held, rooms)
    return None


async def _ask_for_room(
    simulator: Simulator, drawn: Drawn, fault: Fault, held: ExitStack, rooms: list[Capacity]
) -> web.Response | None:
    room = fault.capacity
    assert room is not None
    verdict = room.enter(simulator.clock())
    if verdict is Verdict.ADMITTED or (verdict is Verdict.OVER and room.hold_over):
        held.callback(room.leave)
        rooms.append(room)
    if verdict is Verdict.ADMITTED:
        return None
    drawn.hit(fault)
    if verdict is Verdict.OVER and room.hold_over:
        await asyncio.sleep(fault.spec.params["delay_s"])
        return None
    code = fault.spec.params.get("code")
    if code is not None:
        return answer({"errorCode": code, "status": "False", "errorMessage": "Adapter sedang sibuk"})
    return _down()


async def _after(drawn: Drawn, fault: Fault, response: web.Response) -> web.Response:
    """Let a fault act on the answer of a call that was carried out."""
    params = fault.spec.params
    match fault.spec.kind:
        case "lost_answer":
            drawn.hit(fault)
            raise ConnectionCut
        case "late_answer":
            drawn.hit(fault)
            await asyncio.sleep(params["delay_s"])
        case "half_json":
            drawn.hit(fault)
            return _halved(response)
        case "error":
            drawn.hit(fault)
            return _error(params["status"])
        case "garbage":
            drawn.hit(fault)
            return _html(_PAGE_200)
    return response


async def _hang(simulator: Simulator, request: web.Request, fault: Fault) -> None:
    ends_at = simulator.clock() + fault.spec.params["bound_s"]
    while simulator.faults.is_active(fault) and simulator.clock() < ends_at:
        if request.transport is None or request.transport.is_closing():
            return
        await simulator.wait_for_change(HANG_LOOK_S)


def _reset_connection(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # No linger: the kernel answers with RST, not with an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _down(retry_after_s: int | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(status=503, body=_PAGE_503, content_type="text/html", headers=headers)


def _error(status: int) -> web.Response:
    return web.Response(status=status, body=b"<html><h1>Error</h1></html>", content_type="text/html")


def _html(page: bytes) -> web.Response:
    return web.Response(body=page, content_type="text/html")


def _halved(response: web.Response) -> web.Response:
    body = response.body
    whole = body if isinstance(body, bytes) else b"{}"
    return web.Response(body=whole[: len(whole) // 2], content_type=response.content_type)


def require_token(simulator: Simulator, request: web.Request) -> None:
    """Check `Authorization: Bearer`. Raises TokenRefused."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not simulator.tokens.is_good(token.strip()):
        raise TokenRefused
