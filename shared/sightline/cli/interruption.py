"""Ctrl-C and SIGTERM: end a command without a traceback, after it has cleaned up."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

POLL_S = 0.1
SIGNALS = (signal.SIGINT, signal.SIGTERM)


_last_lines: list[Callable[[], str]] = [lambda: "interrupted; run the same command again"]


@contextmanager
def last_line(sentence: Callable[[], str]) -> Iterator[None]:
    """Sets the last line of a command that a signal ends inside the block: what is done, and how to continue."""
    _last_lines.append(sentence)
    try:
        yield
    finally:
        _last_lines.pop()


def set_last_line(sentence: Callable[[], str]) -> None:
    """Like `last_line`, up to the end of the process."""
    _last_lines.append(sentence)


def print_last_line() -> None:
    # Written to the descriptor, as the main thread may hold the lock of the stream; the line and cursor of a progress
    # bar are restored.
    restored = "\r\x1b[K\x1b[?25h" if sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(2, f"{restored}sightline: {_last_lines[-1]()}\n".encode())


def end_on_signals() -> None:
    """Makes signals end the process with a last line and 128 plus the signal's number as exit code.

    A thread ends it, because Python runs handlers on the main thread, which may be in C code for long. C code that
    keeps the interpreter's lock delays it; inference and decoding release the lock.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, _leave_to_thread)
    Thread(target=_end_on_signal, args=(reading,), name="signals", daemon=True).start()


def _leave_to_thread(_: int, __: FrameType | None) -> None:
    """Marks a signal that no command handles itself."""


def _end_on_signal(reading: int) -> None:
    while numbers := os.read(reading, 1):
        if signal.getsignal(numbers[0]) is _leave_to_thread:
            print_last_line()
            os._exit(128 + numbers[0])


class Interrupted(SystemExit):
    """Raised on the main thread by a signal; the exit code is 128 plus the signal's number, as in shells."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Makes signals raise Interrupted inside the block, so that context managers clean up."""

    def on_signal(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    with signal_handlers(on_signal):
        yield


class StopRequest:
    """A stop flag, set by the first signal or the program, for work that must not be cut off; the second signal sets
    `urgent`.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.signal_number: int | None = None
        self.urgent = False

    def __bool__(self) -> bool:
        return self._stop.is_set()

    @property
    def by_signal(self) -> bool:
        return self.signal_number is not None

    @property
    def exit_code(self) -> int:
        return 128 + (self.signal_number or 0)

    def request(self) -> None:
        self._stop.set()

    def end_process(self) -> NoReturn:
        """Ends the process at once; a normal exit would wait for threads that wait for a server or a decoder."""
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.exit_code)

    def wait(self, timeout_s: float) -> bool:
        """Waits for a stop request; returns False after the time."""
        return self._stop.wait(timeout_s)

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Makes all signals inside the block request a stop instead of ending the process."""
        with signal_handlers(self._on_signal):
            yield

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.urgent = self.by_signal
        self.signal_number = number
        self._stop.set()


def run_unless_stopped(work: Callable[[], T], stop: StopRequest) -> T | None:
    """Returns the result of the work, or None as soon as a signal comes, even if the work still waits."""
    future = run_in_thread(work)
    while not stop.by_signal:
        with suppress(TimeoutError):
            return future.result(POLL_S)
    return None


def run_in_thread(work: Callable[[], T]) -> "Future[T]":
    """Runs work in a daemon thread, so that a hanging server or decoder does not delay the end of the process."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="background", daemon=True).start()
    return future


@contextmanager
def signal_handlers(handler: Any, signals: Sequence[signal.Signals] = SIGNALS) -> Iterator[None]:
    """Installs a signal handler inside the block. Does nothing outside of the main thread, where Python forbids it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
