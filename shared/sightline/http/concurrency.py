"""Limits on requests and bytes in flight, shared fairly between callers."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sightline.api.problems import Code, Problem

SHARE = 3  # times what is free is the most that one caller may hold: one alone gets three quarters of all
RETRY_AFTER_S = 1.0


class ConcurrencyLimiter:
    """Counts requests in flight and the bytes that they hold; used from one event loop.

    `bytes_fact` is the name under which a problem tells the limit of bytes. With `one_always`, a single request has
    room however large it is.
    """

    def __init__(
        self, *, max_requests: int, max_bytes: int, bytes_fact: str = "max_in_flight_bytes", one_always: bool = False
    ) -> None:
        self.requests = self.size_bytes = 0
        self._one_always = one_always
        self.max_requests, self.max_bytes, self.bytes_fact = max_requests, max_bytes, bytes_fact
        self.empty = asyncio.Event()
        self.empty.set()
        self._requests_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()

    def check(self, caller: str) -> None:
        """Raises Problem OVERLOADED or TOO_MANY_REQUESTS where one more request of the caller finds no place."""
        free = self.max_requests - self.requests
        if free <= 0:
            raise _overloaded("requests", max_requests=self.max_requests)
        if self._requests_of[caller] >= SHARE * free:
            raise _share_taken("requests", max_requests=self.max_requests)

    def check_bytes(self, caller: str, size_bytes: int) -> None:
        """Like `check`, for bytes."""
        if self._one_always and self.requests <= 1 and not self.size_bytes:
            return
        free = self.max_bytes - self.size_bytes - size_bytes
        if free < 0:
            raise _overloaded("bytes", **{self.bytes_fact: self.max_bytes})
        own = self._bytes_of[caller]
        if own and own + size_bytes > SHARE * free:
            raise _share_taken("bytes", **{self.bytes_fact: self.max_bytes})

    def add(self, caller: str, *, requests: int = 0, size_bytes: int = 0) -> None:
        """Negative numbers give back."""
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
    """One request's place; raises Problem OVERLOADED or TOO_MANY_REQUESTS when there is no room."""

    def __init__(self, limiter: ConcurrencyLimiter, caller: str) -> None:
        self._limiter, self._caller = limiter, caller
        self._reserved_bytes = 0
        self._waived = False

    @contextmanager
    def admit(self, declared_bytes: int = 0) -> Iterator[None]:
        """Takes a place and room for the declared bytes, and gives both back at the end."""
        self._limiter.check(self._caller)
        self._limiter.add(self._caller, requests=1)
        try:
            self._reserve(declared_bytes)
            yield
        finally:
            self._limiter.add(self._caller, requests=-1, size_bytes=-self._reserved_bytes)

    def waive(self) -> None:
        """Gives the room for the body back and reserves no more, for a body that is written to disk."""
        self._waived = True
        self._limiter.add(self._caller, size_bytes=-self._reserved_bytes)
        self._reserved_bytes = 0

    def hold(self, size_bytes: int) -> None:
        """Reserves room for a body of `size_bytes` in all, beyond what was declared."""
        if not self._waived:
            self._reserve(max(0, size_bytes - self._reserved_bytes))

    def _reserve(self, count: int) -> None:
        if count:
            self._limiter.check_bytes(self._caller, count)
            self._limiter.add(self._caller, size_bytes=count)
            self._reserved_bytes += count


def _overloaded(what: str, **limit: int) -> Problem:
    detail = f"As many {what} are in flight as may be; try again shortly."
    return Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, **limit)


def _share_taken(what: str, **limit: int) -> Problem:
    detail = f"As many of your {what} are in flight as one caller may have now; wait until some have ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, **limit)
