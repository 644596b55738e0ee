"""Fork server that decodes each picture in a child process: `python -m sightline.imaging.decoder.fork_server FD`.

The server is single-threaded and has the codecs loaded, so that a fork takes a few milliseconds. A child may run out
of time or memory, crash, or be compromised: it has one socket and no credentials, and ends after one picture. The
server ends when its parent process does, because that closes the control socket.
"""

import ctypes
import json
import math
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imagecodecs
from PIL import features

from sightline.api.problems import Problem
from sightline.imaging.colour_spaces import icc_profiles
from sightline.imaging.colour_spaces.icc_profiles import ColourSpace
from sightline.imaging.decoder import shared_memory
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits

CONTROL = struct.Struct("!d")
"""Message beside the descriptors of a picture's socket and request: seconds until the child is killed."""
REQUEST = struct.Struct("!I")
"""Length of the JSON at the start of a request; the file follows the JSON."""
REPLY_BYTES = 64 << 10
_PR_SET_PDEATHSIG = 1
_CODECS = ("png_decode", "cms_transform", "lzw_decode", "packbits_decode", "zlibng_decode", "deflate_decode")
_NICENESS = 5  # decoding must not delay the event loop of the service
_OOM_SCORE, _MEMORY_PAGES = Path("/proc/self/oom_score_adj"), Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """Options and limits for decoding one picture in a child process."""

    limits: dict[str, Any]
    min_short_side_px: int | None
    cpu_s: float
    memory_bytes: int
    output_bytes: int


def pack_request(request: DecodeRequest, data: bytes) -> int:
    """Returns a descriptor of shared memory with the request and the file."""
    head = json.dumps(asdict(request)).encode()
    descriptor = shared_memory.create(REQUEST.size + len(head) + len(data))
    shared_memory.write(descriptor, REQUEST.pack(len(head)) + head, 0)
    shared_memory.write(descriptor, data, REQUEST.size + len(head))
    return descriptor


def _unpack_request(descriptor: int) -> tuple[DecodeRequest, bytes]:
    with shared_memory.map_all(descriptor) as packed:
        (length,) = REQUEST.unpack_from(packed)
        head, data = packed[REQUEST.size : REQUEST.size + length], packed[REQUEST.size + length :]
    return DecodeRequest(**json.loads(head)), data


class _Server:
    """Event loop that forks a child for each request, kills late and cancelled ones, and reports failures."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._parent_pid = os.getpid()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._wakeup, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wakeup, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def run(self) -> None:
        """Serves until the control socket is closed."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        while self._run_once():
            pass
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _run_once(self) -> bool:
        """Returns False once the control socket is closed."""
        for key, _ in self._selector.select(self._seconds_to_next_kill()):
            if key.fileobj is self._control:
                if not self._accept():
                    return False
            elif key.fd == self._wakeup:
                with suppress(BlockingIOError):
                    os.read(self._wakeup, 4096)
            else:
                # The client never writes to this end: it is readable because the client has closed its own.
                self._kill(key.data, "cancelled")
        self._kill_late_children()
        self._reap()
        return True

    def _seconds_to_next_kill(self) -> float | None:
        next_kill = min((child.ends_at for child in self._children.values()), default=math.inf)
        return None if next_kill == math.inf else max(0.0, next_kill - time.monotonic())

    def _accept(self) -> bool:
        head, descriptors, _, _ = socket.recv_fds(self._control, CONTROL.size, 2)
        if len(head) < CONTROL.size or len(descriptors) < 2:
            return False
        channel, request = socket.socket(fileno=descriptors[0]), descriptors[1]
        try:
            self._start(channel, request, CONTROL.unpack(head)[0])
        finally:
            os.close(request)
        return True

    def _start(self, channel: socket.socket, request: int, wall_s: float) -> None:
        try:
            pid = os.fork()
        except OSError:
            _send(channel, {"killed": "memory"})
            channel.close()
            return
        if not pid:
            self._become_child(channel, request)
        self._children[pid] = _Child(pid, channel, time.monotonic() + wall_s)
        self._selector.register(channel, selectors.EVENT_READ, pid)

    def _become_child(self, channel: socket.socket, request: int) -> None:
        code = 1
        try:
            _die_with_parent(self._parent_pid)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for child in self._children.values():
                child.channel.close()
            self._selector.close()
            self._control.close()
            _serve_one(channel, request)
            code = 0
        finally:
            os._exit(code)  # without the handlers of exit, which belong to the server

    def _kill_late_children(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            if child.ends_at <= now:
                self._kill(child.pid, "time")

    def _kill(self, pid: int, reason: str) -> None:
        child = self._children[pid]
        child.reason = child.reason or reason
        child.ends_at = math.inf
        if child.channel.fileno() >= 0:
            with suppress(KeyError):
                self._selector.unregister(child.channel)
        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self._children.pop(pid)
            if status:
                _send(child.channel, {"killed": child.reason or _reason(status)})
            with suppress(KeyError):
                self._selector.unregister(child.channel)
            child.channel.close()


@dataclass(slots=True)
class _Child:
    """Child process that decodes one picture; `reason`: why the server killed it, or None."""

    pid: int
    channel: socket.socket
    ends_at: float
    reason: str | None = None


def _reason(status: int) -> str:
    return "time" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU else "crash"


def _send(channel: socket.socket, message: Mapping[str, Any], descriptors: tuple[int, ...] = ()) -> None:
    """Sends a message, unless the client has closed its end."""
    with suppress(OSError):
        socket.send_fds(channel, [json.dumps(message).encode()], list(descriptors))


def _serve_one(channel: socket.socket, descriptor: int) -> None:
    request, data = _unpack_request(descriptor)
    _limit(request)
    try:
        picture = decode(data, PixelLimits(**request.limits), min_short_side_px=request.min_short_side_px)
        size_bytes, lengths, result = shared_memory.serialize(picture)
    except Problem as problem:
        _send(channel, {"problem": [problem.code, problem.detail, problem.facts]})
    except (MemoryError, OSError):
        _send(channel, {"killed": "memory"})
    else:
        _send(channel, {"lengths": lengths, "size_bytes": size_bytes}, (result,))


def _limit(request: DecodeRequest) -> None:
    # The kernel sends SIGXCPU at the soft limit, which distinguishes it from a crash, and SIGKILL at the hard one.
    _set_limit(resource.RLIMIT_CPU, math.ceil(request.cpu_s), spare=1)
    _set_limit(resource.RLIMIT_AS, _address_space_bytes() + request.memory_bytes)
    _set_limit(resource.RLIMIT_FSIZE, request.output_bytes)
    with suppress(OSError):  # if memory runs out nevertheless, the kernel kills this process before the service
        _OOM_SCORE.write_text("1000")


def _set_limit(kind: int, value: int, *, spare: int = 0) -> None:
    with suppress(ValueError, OSError):  # the machine has a lower hard limit
        resource.setrlimit(kind, (value, value + spare))


def _address_space_bytes() -> int:
    try:
        return int(_MEMORY_PAGES.read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)


def _load_codecs() -> None:
    """Loads codecs that would else be imported at their first use, in every child."""
    for name in _CODECS:
        getattr(imagecodecs, name)
    icc_profiles.is_usable(bytes(imagecodecs.cms_profile("srgb")), ColourSpace.RGB)
    features.check("avif")


def main(control_fd: int) -> None:
    """Runs the server on a control socket."""
    _load_codecs()
    os.nice(_NICENESS)
    # Core dumps would leave pixels on disk.
    _set_limit(resource.RLIMIT_CORE, 0)
    with socket.socket(fileno=control_fd) as control:
        _Server(control).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
