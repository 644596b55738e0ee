"""Limits on requests and bytes in flight, shared fairly between callers."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.api.problems import Code, Problem

# One caller may hold at most this many times the free capacity: a single caller gets three quarters of all.
MAX_SHARE_OF_FREE = 3
RETRY_AFTER_S = 1.0


class ConcurrencyLimiter:
    """A fair limit of requests in flight and of the bytes that they hold; used from one event loop.

    `bytes_limit_name` is the field of a problem that holds the limit of bytes. With `always_admit_one`, a single
    request is admitted whatever its size.
    """

    def __init__(
        self,
        *,
        max_requests: int,
        max_bytes: int,
        bytes_limit_name: str = "max_in_flight_bytes",
        always_admit_one: bool = False,
    ) -> None:
        self.requests = self.size_bytes = 0
        self._always_admit_one = always_admit_one
        self.max_requests, self.max_bytes, self.bytes_limit_name = max_requests, max_bytes, bytes_limit_name
        self.empty = asyncio.Event()
        self.empty.set()
        self._requests_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()

    def check(self, caller: str) -> None:
        """Raises Problem OVERLOADED, or TOO_MANY_REQUESTS where the caller has its share of the requests."""
        free = self.max_requests - self.requests
        if free <= 0:
            raise _overloaded("requests", max_requests=self.max_requests)
        if self._requests_of[caller] >= MAX_SHARE_OF_FREE * free:
            raise _share_taken("requests", max_requests=self.max_requests)

    def check_bytes(self, caller: str, size_bytes: int) -> None:
        """Raises the same for `size_bytes` more bytes of the caller."""
        if self._always_admit_one and self.requests <= 1 and not self.size_bytes:
            return
        free = self.max_bytes - self.size_bytes - size_bytes
        if free < 0:
            raise _overloaded("bytes", **{self.bytes_limit_name: self.max_bytes})
        own = self._bytes_of[caller]
        if own and own + size_bytes > MAX_SHARE_OF_FREE * free:
            raise _share_taken("bytes", **{self.bytes_limit_name: self.max_bytes})

    def add(self, caller: str, *, requests: int = 0, size_bytes: int = 0) -> None:
        """Counts requests and bytes of the caller; negative numbers release them."""
        self.requests += requests
        self.size_bytes += size_bytes
        for counts, count in ((self._requests_of, requests), (self._bytes_of, size_bytes)):
            counts[caller] += count
            if not counts[caller]:
                del counts[caller]
        if self.requests:
            self.empty.clear()
        else:
            self.empty.set()


class Permit:
    """The permit of one request; raises Problem OVERLOADED or TOO_MANY_REQUESTS where the limit is reached."""

    def __init__(self, limiter: ConcurrencyLimiter, caller: str) -> None:
        self._limiter, self._caller = limiter, caller
        self._reserved_bytes = 0
        self._waived = False

    @contextmanager
    def admit(self, declared_bytes: int = 0) -> Iterator[None]:
        """Counts the request and its declared bytes for as long as the block lasts."""
        self._limiter.check(self._caller)
        self._limiter.add(self._caller, requests=1)
        try:
            self._reserve(declared_bytes)
            yield
        finally:
            self._limiter.add(self._caller, requests=-1, size_bytes=-self._reserved_bytes)

    def waive(self) -> None:
        """Releases the body's bytes and counts no more of them, for a body that is written to disk."""
        self._waived = True
        self._limiter.add(self._caller, size_bytes=-self._reserved_bytes)
        self._reserved_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Counts a body of `size_bytes` in all, as far as it exceeds what was declared."""
        if not self._waived:
            self._reserve(max(0, size_bytes - self._reserved_bytes))

    def _reserve(self, count: int) -> None:
        if count:
            self._limiter.check_bytes(self._caller, count)
            self._limiter.add(self._caller, size_bytes=count)
            self._reserved_bytes += count


def _overloaded(what: str, **limit: int) -> Problem:
    detail = f"Too many {what} are in flight; try again shortly."
    return Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, **limit)


def _share_taken(what: str, **limit: int) -> Problem:
    detail = f"You have as many {what} in flight as one caller may have now; wait until some have ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, **limit)
