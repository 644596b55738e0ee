"""Decoding within limits on time and memory.

`decode` has the signature and the errors of `sightline.imaging.decoder.in_process.decode`, and may be called from any
thread. Pictures whose header bounds the work, such as ordinary JPEGs, are decoded on the calling thread, all others in
a child process of `sightline.imaging.decoder.fork_server`. A picture that exceeds its limits raises Problem
UNREADABLE_IMAGE, whose `limit` is `time` or `memory`. An exception such as KeyboardInterrupt in the waiting thread
ends the child process of its picture; `stop` ends all of them from outside, so that waiting threads return at once
with Problem CANCELLED.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder import shared_memory
from sightline.imaging.decoder.cost_bounds import is_bounded_by_header
from sightline.imaging.decoder.fork_server import CONTROL, REPLY_BYTES, DecodeRequest, pack_request
from sightline.imaging.decoder.in_process import decode as decode_here
from sightline.imaging.formats import unreadable
from sightline.imaging.header import require_header
from sightline.imaging.limits import DecodingLimits, PixelLimits
from sightline.imaging.picture import Picture

OnTermination = Callable[[str], None]
"""Called with the reason for which a child process ended: time, memory or crash."""

_STOP_S = 5.0
_START_ATTEMPTS = 2
# A decoder may be compromised by a hostile file: it gets no credentials from the environment.
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_DETAILS: Mapping[str, str] = {
    "time": "The picture takes too long to decode: more than {cpu_s:.0f} s for its size.",
    "memory": "The picture takes too much memory to decode: more than {memory_mb} MB for its size.",
    "crash": "The picture cannot be decoded: the file is damaged.",
}


def decode(data: bytes, limits: PixelLimits, *, min_short_side_px: int | None = None) -> Picture:
    """Decodes as `sightline.imaging.decoder.in_process.decode` does, within limits on time and memory for the size."""
    limits.check_bytes(len(data))
    header = require_header(data)
    limits.check(header, len(data))
    if is_bounded_by_header(data, header):
        return decode_here(data, limits, min_short_side_px=min_short_side_px)
    return _POOL.decode(data, limits, DecodingLimits.for_picture(header, limits), min_short_side_px)


def needs_process(data: bytes) -> bool:
    """Returns whether `decode` needs a child process; False for files that it refuses by their header."""
    try:
        return not is_bounded_by_header(data, require_header(data))
    except Problem:
        return False


def stop() -> None:
    """Ends all child processes, also those that threads wait for; the next picture starts the fork server again."""
    _POOL.stop()


@contextmanager
def observe_terminations(on_termination: OnTermination) -> Iterator[None]:
    """Calls `on_termination`, on the waiting thread, whenever a child process was ended or crashed."""
    _POOL.observers.append(on_termination)
    try:
        yield
    finally:
        _POOL.observers.remove(on_termination)


class Cancellation:
    """Handle by which one thread cancels the decoding that another waits for."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._channel: socket.socket | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Ends the child process that the other thread waits for, and refuses further pictures."""
        with self._changing:
            self.is_cancelled = True
            if self._channel is not None:
                self._channel.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Applies to everything that this thread decodes inside the block."""
        token = _CANCELLATION.set(self)
        try:
            yield
        finally:
            _CANCELLATION.reset(token)

    @contextmanager
    def cancels(self, channel: socket.socket) -> Iterator[None]:
        """Shuts this socket down if cancelled inside the block; raises Problem CANCELLED if cancelled before."""
        with self._changing:
            if self.is_cancelled:
                raise _stopped()
            self._channel = channel
        try:
            yield
        finally:
            with self._changing:
                self._channel = None


_CANCELLATION: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


class DecoderPool:
    """Client of the fork server, which it starts at the first request; bounds the memory of its children."""

    def __init__(self) -> None:
        self.observers: list[OnTermination] = []
        self._server: _ForkServer | None = None
        self._starting = threading.Lock()
        self._memory = _MemoryBudget()

    def decode(
        self, data: bytes, limits: PixelLimits, decoding: DecodingLimits, min_short_side_px: int | None
    ) -> Picture:
        """Decodes a picture in a child process, after waiting for memory within `max_decode_bytes`."""
        work = DecodeRequest(
            asdict(limits), min_short_side_px, decoding.cpu_s, decoding.memory_bytes, decoding.output_bytes
        )
        with self._memory.reserve(decoding.memory_bytes, limits.max_decode_bytes):
            descriptor = pack_request(work, data)
            try:
                return self._decode(descriptor, decoding)
            finally:
                os.close(descriptor)

    def _decode(self, descriptor: int, decoding: DecodingLimits) -> Picture:
        """Tries again if the server ended before it replied."""
        cancellation = _CANCELLATION.get() or Cancellation()
        for _ in range(_START_ATTEMPTS):
            server, channel = self._submit(descriptor, decoding.wall_s)
            with closing(channel), cancellation.cancels(channel):
                reply, descriptors = _read(channel)
            if reply or descriptors:
                return self._result(reply, descriptors, decoding)
            if cancellation.is_cancelled or server.is_stopped:
                raise _stopped()
            self._forget(server)
        raise _no_process()

    def stop(self) -> None:
        """Ends the fork server and its children."""
        with self._starting:
            server, self._server = self._server, None
            atexit.unregister(self.stop)
        if server is not None:
            server.is_stopped = True
            server.stop()

    def _submit(self, descriptor: int, wall_s: float) -> tuple["_ForkServer", socket.socket]:
        for _ in range(_START_ATTEMPTS):
            server = self._running()
            client_end, server_end = socket.socketpair()
            try:
                server.submit(server_end, descriptor, wall_s)
            except OSError:
                client_end.close()
                self._forget(server)
            except BaseException:
                client_end.close()
                raise
            else:
                return server, client_end
            finally:
                server_end.close()
        raise _no_process()

    def _running(self) -> "_ForkServer":
        with self._starting:
            if self._server is None:
                self._server = _ForkServer()
                atexit.register(self.stop)
            return self._server

    def _forget(self, server: "_ForkServer") -> None:
        with self._starting:
            if self._server is server:
                self._server = None
        server.stop()

    def _result(self, reply: Mapping[str, Any], descriptors: Sequence[int], decoding: DecodingLimits) -> Picture:
        if descriptors:
            with closing(_Descriptor(descriptors[0])) as result:
                picture = shared_memory.deserialize(result.number, reply["lengths"], decoding.output_bytes)
                assert isinstance(picture, Picture)
                return picture
        if "problem" in reply:
            code, detail, facts = reply["problem"]
            raise Problem(Code(code), detail, **facts)
        raise self._ended(str(reply.get("killed")), decoding)

    def _ended(self, reason: str, decoding: DecodingLimits) -> Problem:
        if reason not in _DETAILS:
            return _stopped()
        for observer in tuple(self.observers):
            observer(reason)
        detail = _DETAILS[reason].format(cpu_s=decoding.cpu_s, memory_mb=decoding.memory_bytes // 1_000_000)
        problem = unreadable(detail)
        problem.facts["limit"] = reason
        return problem


class _Descriptor:
    """A file descriptor that `contextlib.closing` can close."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


class _ForkServer:
    """Handle of the fork server's process, which ends when its control socket closes."""

    def __init__(self) -> None:
        self.is_stopped = False  # by `stop`; stays False if the process crashes
        self._control, server_end = socket.socketpair()
        self._sending = threading.Lock()
        with server_end:
            command = (sys.executable, "-m", "sightline.imaging.decoder.fork_server", str(server_end.fileno()))
            self._process = subprocess.Popen(  # noqa: S603 - a fixed command line
                command,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[server_end.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal must reach the waiting process only
            )

    def submit(self, channel: socket.socket, request: int, wall_s: float) -> None:
        """Sends a request and the socket for its reply; raises OSError if the server has ended."""
        with self._sending:
            socket.send_fds(self._control, [CONTROL.pack(wall_s)], [channel.fileno(), request])

    def stop(self) -> None:
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _MemoryBudget:
    """Memory of pictures that are decoded at the same time; a single picture is always admitted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reserved_bytes = 0

    @contextmanager
    def reserve(self, size_bytes: int, total_bytes: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._reserved_bytes or self._reserved_bytes + size_bytes <= total_bytes)
            self._reserved_bytes += size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._reserved_bytes -= size_bytes
                self._changed.notify_all()


def _no_process() -> Problem:
    return Problem(Code.OVERLOADED, "No process can be started to decode the picture.", retry_after_s=1)


def _stopped() -> Problem:
    return Problem(Code.CANCELLED, "Decoding the picture was stopped.", retry_after_s=1)


def _read(channel: socket.socket) -> tuple[Mapping[str, Any], Sequence[int]]:
    """Returns the reply and its descriptors; both empty if the server ended."""
    try:
        text, descriptors, _, _ = socket.recv_fds(channel, REPLY_BYTES, 1)
    except ConnectionError:
        return {}, ()
    return (json.loads(text) if text else {}), descriptors


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_VARIABLES or name.startswith("PYTHON")}
    return kept | _ONE_THREAD


_POOL = DecoderPool()
