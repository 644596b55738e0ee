"""uvicorn's HTTP connection with limits on heads, bodies, rates and pipelines, all of them before any handler runs."""

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sightline.api import headers as names
from sightline.api.problems import MEDIA_TYPE, Code, Problem
from sightline.http.transport.connections import ConnectionTable, RateWindow, Refusal, address_of

FIRST_REQUEST_S = 1.0  # in which a new connection may still send its request to a server that stops
LINGER_S = 2.0  # in which a refused client can still read the reason
DISCARD_S = 30.0  # for which the rest of a body is taken in after its reply has been sent
PIECE_BYTES = 16 * 1024  # parsed at once, between two looks at the limits
MAX_FRAMING_BYTES = 16 * 1024  # beyond a share of the body: chunks of 16 bytes and more have no limit in number
FRAMING_PER_BODY_BYTE = 0.5
MAX_DISCARDED_BYTES = 4 * 1024 * 1024  # of a client that goes on sending after it was refused
MAX_PIPELINED = 32


@dataclass(slots=True)
class _Head:
    """The received part of the request line and headers."""

    size_bytes: int = 0
    named_bytes: int = 0
    fields: int = 0
    began_at: float | None = field(default=None)


class _Refused(Exception):
    """Stops the parser."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP connection, with limits.

    httptools limits neither the size nor the duration of a head, so this class does.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        table: ConnectionTable,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._table, self._limits = table, table.limits
        self.address = ""
        self.idle_since = self.loop.time()
        # Requests without a complete reply, the oldest first; uvicorn keeps the last one alone.
        self._cycles: deque[RequestResponseCycle] = deque()
        self._head, self._in_head = _Head(), True
        self._framing_bytes = 0.0
        self._discarded_bytes = 0
        self._upload = RateWindow(self._limits.min_bytes_per_s, self._limits.rate_window_s)
        self._download = RateWindow(self._limits.min_bytes_per_s, self._limits.rate_window_s)
        self._unsent_bytes: int | None = None  # at the last look, while the client has to take something
        self._refused_for: Refusal | None = None
        self._added = False
        self._ending_at: float | None = None  # when a connection that has been ended is cut

    @property
    def idle(self) -> bool:
        """True while no request is in progress."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = address_of(self.client)
        self._head.began_at = self.loop.time()
        refusal = self._table.add(self)
        self._added = refusal is None
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._added:
            self._table.remove(self)
        self._disconnect_cycles()
        super().connection_lost(exc)

    def _abort(self) -> None:
        # Now, not when the transport reports its end: until then handlers would write to a closed connection.
        self._disconnect_cycles()
        self.transport.abort()

    def _disconnect_cycles(self) -> None:
        """Reports a disconnect to the handlers, and drops what they still send."""
        for cycle in self._cycles:
            cycle.disconnected = True
            cycle.message_event.set()

    def data_received(self, data: bytes) -> None:
        # In small pieces, so that no large head is ever put together by the parser.
        for start in range(0, len(data), PIECE_BYTES):
            if self._refused_for is not None or self.transport.is_closing():
                self._discard(len(data) - start)
                return
            self._receive(data[start : start + PIECE_BYTES])

    def _discard(self, size_bytes: int) -> None:
        self._discarded_bytes += size_bytes
        if self._discarded_bytes > MAX_DISCARDED_BYTES:
            self.transport.abort()

    def _receive(self, data: bytes) -> None:
        if self._in_head:
            self._head.began_at = self._head.began_at or self.loop.time()
            self._head.size_bytes += len(data)
        body_before, was_in_head = self._upload.moved_bytes, self._in_head
        self._parse(data)
        if self._refused_for is not None or self.transport.is_closing():
            return
        if self._in_head and self._head.size_bytes > self._limits.max_head_bytes:
            self._refuse(Refusal.HEAD_TOO_LARGE)
        elif not self._in_head and not was_in_head:
            self._count_framing(len(data), self._upload.moved_bytes - body_before)

    def _parse(self, data: bytes) -> None:
        self._stop_keep_alive_timer()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is answered without the upgrade
        except httptools.HttpParserError:
            self._refuse(self._refused_for or Refusal.MALFORMED)

    def _stop_keep_alive_timer(self) -> None:
        timer: asyncio.TimerHandle | None = self.timeout_keep_alive_task
        if timer is not None:
            timer.cancel()
            self.timeout_keep_alive_task = None

    def _count_framing(self, received_bytes: int, body_bytes: int) -> None:
        """Limits chunk extensions and trailers, which reach no handler and no other limit."""
        framing_bytes = received_bytes - body_bytes - FRAMING_PER_BODY_BYTE * body_bytes
        self._framing_bytes = max(0.0, self._framing_bytes + framing_bytes)
        if self._framing_bytes > MAX_FRAMING_BYTES:
            self._refuse(Refusal.FRAMING_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._head.began_at = self.loop.time()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_field(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head.fields += 1
        self._count_field(len(name) + len(value))
        if self._in_head:  # trailers are counted and dropped: handlers decide by the head alone
            super().on_header(name, value)

    def _count_field(self, size_bytes: int) -> None:
        self._head.named_bytes += size_bytes
        if self._head.named_bytes > self._limits.max_head_bytes or self._head.fields > self._limits.max_headers:
            self._refused_for = Refusal.HEAD_TOO_LARGE if self._in_head else Refusal.FRAMING_TOO_LARGE
            raise _Refused

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._framing_bytes = 0.0
        self._upload.restart()
        super().on_headers_complete()
        self._cycles.append(self.cycle)
        if self.parser.should_upgrade():
            # The parser treats the following bytes as another protocol: none of them may be read as a request.
            self.cycle.keep_alive = False
        if len(self.pipeline) > MAX_PIPELINED:
            self._refused_for = Refusal.PIPELINE_TOO_LONG
            raise _Refused

    def on_body(self, body: bytes) -> None:
        self._upload.moved_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._head = True, _Head()
        super().on_message_complete()

    def shutdown(self) -> None:
        """Ends an idle connection; a new one may still send its first request."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None and self.loop.time() - self.idle_since < FIRST_REQUEST_S:
            self.loop.call_later(FIRST_REQUEST_S, super().shutdown)
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        self.idle_since = self.loop.time()
        self._cycles.popleft()
        super().on_response_complete()

    def resume_writing(self) -> None:
        self._unsent_bytes = None
        super().resume_writing()

    def check(self, now: float, elapsed_s: float) -> None:
        """Ends the connection where it is too slow."""
        if self._ending_at is not None:
            if now > self._ending_at:
                self.transport.abort()
        elif refusal := self._slowness(now, elapsed_s):
            self._refuse(refusal)

    def _slowness(self, now: float, elapsed_s: float) -> Refusal | None:
        if self._is_download_slow(elapsed_s):
            return Refusal.DOWNLOAD_TOO_SLOW
        if self.flow.read_paused or self._refused_for is not None or self.transport.is_closing():
            return None  # the application has not read further yet
        if self._in_head:
            began_at = self._head.began_at
            late = began_at is not None and now - began_at > self._limits.head_timeout_s
            return Refusal.HEAD_TIMEOUT if late else None
        if self.cycle.response_complete and now - self.idle_since > DISCARD_S:
            return Refusal.UNREAD_BODY
        waits = self.cycle.waiting_for_100_continue
        return Refusal.UPLOAD_TOO_SLOW if not waits and self._upload.is_too_slow(elapsed_s) else None

    def _is_download_slow(self, elapsed_s: float) -> bool:
        """Returns whether the client takes the reply too slowly.

        While writing is paused, or all is written, the buffer only shrinks, by the bytes that the client takes.
        """
        before_bytes = self._unsent_bytes
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._unsent_bytes = None
            return False
        self._unsent_bytes = self.transport.get_write_buffer_size()
        if before_bytes is None:
            self._download.restart()
            return False
        self._download.moved_bytes += max(0, before_bytes - self._unsent_bytes)
        return self._download.is_too_slow(elapsed_s)

    def drop(self, refusal: Refusal) -> None:
        """Ends the connection without a reply."""
        self._refused_for, self._added = refusal, False
        self._table.count_refusal(refusal, self.address)
        self._abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Ends the connection, with a reply where one is possible."""
        self._refused_for = refusal
        self._table.count_refusal(refusal, self.address)
        self._stop_keep_alive_timer()
        if self._in_head and not self.idle and refusal is not Refusal.DOWNLOAD_TOO_SLOW:
            # An earlier request still gets its reply; the requests after it are dropped.
            self._cycles[0].keep_alive = False
            self.pipeline.clear()
            return
        if not self._may_answer(refusal):
            self._abort()
            return
        self._disconnect_cycles()
        self.transport.write(_reply(PROBLEMS[refusal]()))
        self._end_after_reply()

    def _may_answer(self, refusal: Refusal) -> bool:
        """Returns whether a reply is possible: the request has begun, and no other reply is in progress."""
        if refusal not in PROBLEMS or self.pipeline:
            return False
        if refusal is Refusal.HEAD_TIMEOUT and not self._head.size_bytes:
            return False
        return self.idle or not self.cycle.response_started

    def _end_after_reply(self) -> None:
        if not self._added or not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closed at once with bytes unread, the connection would be reset, and the reply lost on its way.
        self.transport.write_eof()
        self._ending_at = self.loop.time() + LINGER_S


def _too_large() -> Problem:
    return Problem(Code.HEADERS_TOO_LARGE, "Send fewer or shorter headers: 64 KiB and 100 headers are accepted.")


def _framing_too_large() -> Problem:
    return Problem(Code.INVALID_REQUEST, "Send the body in larger chunks, without trailers or long extensions.")


def _malformed() -> Problem:
    return Problem(Code.INVALID_REQUEST, "This is not a valid HTTP request.")


def _too_slow() -> Problem:
    return Problem(Code.REQUEST_TIMEOUT, "The request arrived too slowly; send it again on a faster connection.")


def _too_many() -> Problem:
    detail = "Close some connections first: too many are open from this address."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=1)


def _full() -> Problem:
    return Problem(Code.OVERLOADED, "Too many connections are open; try again shortly.", retry_after_s=1)


PROBLEMS = {
    Refusal.MALFORMED: _malformed,
    Refusal.HEAD_TOO_LARGE: _too_large,
    Refusal.FRAMING_TOO_LARGE: _framing_too_large,
    Refusal.HEAD_TIMEOUT: _too_slow,
    Refusal.UPLOAD_TOO_SLOW: _too_slow,
    Refusal.ADDRESS_LIMIT: _too_many,
    Refusal.CONNECTION_LIMIT: _full,
}


def _reply(problem: Problem) -> bytes:
    request_id = uuid.uuid4().hex
    body = problem.details(request_id).model_dump_json().encode()
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        names.REQUEST_ID.lower(): request_id,
        "connection": "close",
        **({} if problem.retry_after_s is None else {"retry-after": f"{problem.retry_after_s:.0f}"}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return STATUS_LINE[problem.status] + lines.encode() + b"\r\n" + body
