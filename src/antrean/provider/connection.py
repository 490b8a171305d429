"""One connection to an HTTP/1.1 server: h11 on asyncio's transport, one exchange at a time, no error forgiven."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import cast

import h11
import httpx

#: Longest head of an answer that is read, in bytes.
HEAD_BYTES_MAX = 64 * 1024
#: Larger requests are written in pieces of this size, in bytes, with other calls in between.
PIECE_BYTES = 256 * 1024
#: Most bytes of an answer that may wait for their reader; with more the connection ends. Pausing the reading is no
#: way out: below TLS the loops go on reading all the same, and what they hold then is counted by nobody (asyncio,
#: uvloop) or lost when the other side closes without a TLS goodbye (uvloop).
AHEAD_BYTES_MAX = 64 * 1024 * 1024
#: A body is handed on in slices of at most this size, in bytes: each may be packed and then be a thousand times larger.
SLICE_BYTES = 16 * 1024
#: What makes the kernel forget what it has not sent, and say so to the other side (socket(7), SO_LINGER).
FORGET = struct.pack("ii", 1, 0)
#: Where the kernel says how many ms ago it received the last bytes: tcpi_last_data_recv of linux/tcp.h.
RECEIVED = struct.Struct("52xI")

#: Default ports, by scheme.
PORTS = {"http": 80, "https": 443}

#: Scheme, host and port.
Origin = tuple[str, str, int]


class Connection(asyncio.Protocol):
    """One exchange after another. Whatever does not belong to the present exchange ends the connection.

    `began` is called when there is a connection, `ended` when it is gone.
    """

    def __init__(
        self, origin: Origin, began: Callable[[Connection], object], ended: Callable[[Connection], object]
    ) -> None:
        self.origin = origin
        self._began, self._ended = began, ended
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._asked = False
        self._asked_at = 0.0
        #: The socket below, once there is one.
        self.below: socket.socket | None = None
        #: Seconds from the last request's first byte until its answer's head was on this machine.
        self.answer_s = 0.0
        self._head: h11.Response | None = None
        self._chunks: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._failure: httpx.ReadError | None = None
        self._news: asyncio.Future[None] | None = None
        self._full = False

    # ---- its life

    @property
    def is_open(self) -> bool:
        """Whether nothing has ended it so far."""
        return self._transport is not None and not self._transport.is_closing()

    def readable(self) -> bool:
        """Whether something arrived that the loop has not delivered yet, even if it is only the end."""
        assert self._transport is not None
        below = self._transport.get_extra_info("socket")
        if below is None:  # lost, and told in the next turn
            return True
        poll = select.poll()
        poll.register(below.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def next_exchange(self) -> bool:
        """Get ready for another exchange; False where that is not possible."""
        http = self._http
        done = http.our_state is h11.DONE and http.their_state is h11.DONE
        if self._transport is None or not done or http.trailing_data != (b"", False):
            return False
        http.start_next_cycle()
        self._head = None
        self._chunks.clear()
        self._ahead_bytes = 0
        return True

    def cut(self) -> None:
        """End the connection now. What has not left this machine never will; a waiting call gets httpx.ReadError."""
        self._over()
        transport, self._transport = self._transport, None
        if transport is None:
            return
        below = transport.get_extra_info("socket") if self._asked else None
        if below is not None:  # TLS forgets it a turn before we hear of the end
            with suppress(OSError):
                below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FORGET)
        transport.abort()

    def _over(self) -> None:
        if not self._whole and self._failure is None:
            self._failure = httpx.ReadError("the connection broke")
        self._ended(self)
        self._tell()

    # ---- asked and answered

    @property
    def _whole(self) -> bool:
        """Whether the answer is here to its end."""
        return self._head is not None and not self._asked

    async def ask(self, head: h11.Request, body: bytes) -> h11.Response:
        """Send and wait for the head of the answer. Raises httpx.ReadError."""
        self._asked, self._asked_at = True, time.monotonic()
        start = self._http.send(head) or b""
        first, rest = body[:PIECE_BYTES], memoryview(body)[PIECE_BYTES:]
        self._write(start + self._piece(first) + (b"" if rest else self._end()))
        while rest and self._head is None:
            while self._full and self._head is None:
                await self._wait()
            if self._head is not None:
                break
            self._write(self._piece(rest[:PIECE_BYTES]))
            rest = rest[PIECE_BYTES:]
            if not rest:
                self._write(self._end())
            await asyncio.sleep(0)
        while self._head is None:
            await self._wait()
        return self._head

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's body. Raises httpx.ReadError."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._ahead_bytes -= len(chunk)
                for start in range(0, len(chunk), SLICE_BYTES):
                    yield chunk[start : start + SLICE_BYTES]
            if self._whole:
                return
            await self._wait()

    def _piece(self, piece: bytes | memoryview) -> bytes:
        return self._http.send(h11.Data(data=cast("bytes", piece))) or b"" if piece else b""

    def _end(self) -> bytes:
        return self._http.send(h11.EndOfMessage()) or b""

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            raise self._failure or httpx.ReadError("the connection broke")
        if data:
            self._transport.write(data)

    async def _wait(self) -> None:
        """Until something came, was sent, or broke. Raises httpx.ReadError."""
        if self._failure is not None:
            raise self._failure
        self._news = asyncio.get_running_loop().create_future()
        await self._news
        if self._failure is not None:
            raise self._failure

    def _tell(self) -> None:
        news, self._news = self._news, None
        if news is not None and not news.done():
            news.set_result(None)

    def _read(self) -> None:
        """Take in all that the bytes so far mean. Raises h11.RemoteProtocolError."""
        while not self._whole:
            event = self._http.next_event()
            match event:
                case h11.Response():
                    if event.status_code < 300 and self._http.our_state is h11.SEND_BODY:
                        raise h11.RemoteProtocolError(
                            "a good answer to half a request belongs to another request"
                        )
                    self._head = event
                    self.answer_s = max(0.0, time.monotonic() - self._asked_at - self._unread_s())
                case h11.Data():
                    self._chunks.append(bytes(event.data))
                    self._ahead_bytes += len(event.data)
                case h11.EndOfMessage():
                    self._asked = False
                case h11.InformationalResponse():
                    pass  # the answer is yet to come
                case _:
                    break

    def _unread_s(self) -> float:
        """Seconds for which what was just read had been waiting on this machine: our delay, not the server's.

        As exact as the kernel's tick, a few ms; the mean is right. 0 where the system does not tell.
        """
        if self.below is None or not hasattr(socket, "TCP_INFO"):
            return 0.0
        with suppress(OSError, struct.error):
            told = self.below.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RECEIVED.size)
            return float(RECEIVED.unpack(told)[0]) / 1000
        return 0.0

    # ---- told by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._began(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        if not self._asked:
            self.cut()
            return
        try:
            self._http.receive_data(data)
            self._read()
        except h11.RemoteProtocolError:
            self.cut()
            return
        if (self._whole and self._http.trailing_data[0]) or self._ahead_bytes > AHEAD_BYTES_MAX:
            self.cut()
        self._tell()

    def eof_received(self) -> None:
        if self._asked:  # it may be what ends the answer
            self.data_received(b"")

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._over()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._tell()
