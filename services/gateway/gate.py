from collections.abc import Iterator
from contextlib import contextmanager

from sightline.api.problems import Code, Problem

RETRY_AFTER_S = 1.0


class Gate:
    """How much is on its way through the gateway: requests, and bytes of their bodies."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.requests = 0
        self.size_bytes = 0
        self.max_requests, self.max_bytes = max_requests, max_bytes


class Pass:
    """One request's way through the gate; raises Problem OVERLOADED when there is no room."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._reserved_bytes = 0
        self._received_bytes = 0
        self._waived = False

    @contextmanager
    def admit(self, declared_bytes: int) -> Iterator[None]:
        if self._gate.requests >= self._gate.max_requests:
            raise _overloaded("requests", max_requests=self._gate.max_requests)
        self._gate.requests += 1
        try:
            self._reserve(declared_bytes)
            yield
        finally:
            self._gate.requests -= 1
            self._gate.size_bytes -= self._reserved_bytes

    def waive(self) -> None:
        """Gives the room for the body back, and makes no more: it goes where it takes none."""
        self._waived = True
        self._gate.size_bytes -= self._reserved_bytes
        self._reserved_bytes = 0

    def receive(self, count: int) -> None:
        """Makes room for bytes that came without having been declared."""
        if self._waived:
            return
        self._received_bytes += count
        self._reserve(max(0, self._received_bytes - self._reserved_bytes))

    def _reserve(self, count: int) -> None:
        if self._gate.size_bytes + count > self._gate.max_bytes:
            raise _overloaded("bytes", max_inflight_bytes=self._gate.max_bytes)
        self._gate.size_bytes += count
        self._reserved_bytes += count


def _overloaded(what: str, **limit: int) -> Problem:
    detail = f"The gateway has as many {what} in flight as it takes; try again shortly."
    return Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, **limit)
