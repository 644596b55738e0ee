"""How much a service takes on at once: requests, and the bytes of their bodies, which lie in memory."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.api.problems import Code, Problem

RETRY_AFTER_S = 1.0


class Admission:
    """Counts what is in flight; used from one event loop."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self.requests = self.bytes = 0
        self.empty = asyncio.Event()
        self.empty.set()

    @contextmanager
    def hold(self, size_bytes: int) -> Iterator[None]:
        """Hold a place for a request whose body is at most `size_bytes`; one request always has room."""
        full = self.requests >= self._max_requests or self.bytes + size_bytes > self._max_bytes
        if self.requests and full:
            raise Problem(Code.OVERLOADED, "Too many requests are in flight.", retry_after_s=RETRY_AFTER_S)
        self.requests += 1
        self.bytes += size_bytes
        self.empty.clear()
        try:
            yield
        finally:
            self.requests -= 1
            self.bytes -= size_bytes
            if not self.requests:
                self.empty.set()
