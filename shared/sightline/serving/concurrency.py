"""Limits of what is in flight, shared between callers: whoever holds much leaves room for those who hold little."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from sightline.api.problems import Code, Problem

SHARE = 3  # times what is free is the most that one caller may hold: one alone gets three quarters of all
BULK_SHARE = 4  # one bulk request goes after so many interactive ones
RETRY_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Requester:
    """On whose behalf something is done: `caller` is whose share it takes, and bulk work steps back."""

    caller: str = ""
    bulk: bool = False


ANYBODY = Requester()


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
        self._received_bytes = 0
        self._waived = False

    @contextmanager
    def admit(self, declared_bytes: int = 0) -> Iterator[None]:
        self._limiter.check(self._caller)
        self._limiter.add(self._caller, requests=1)
        try:
            self._reserve(declared_bytes)
            yield
        finally:
            self._limiter.add(self._caller, requests=-1, size_bytes=-self._reserved_bytes)

    def waive(self) -> None:
        """Gives the room for the body back, and makes no more: it goes where it takes none."""
        self._waived = True
        self._limiter.add(self._caller, size_bytes=-self._reserved_bytes)
        self._reserved_bytes = 0

    def receive(self, count: int) -> None:
        """Makes room for bytes that came without having been declared."""
        if self._waived:
            return
        self._received_bytes += count
        self._reserve(max(0, self._received_bytes - self._reserved_bytes))

    def _reserve(self, count: int) -> None:
        if count:
            self._limiter.check_bytes(self._caller, count)
            self._limiter.add(self._caller, size_bytes=count)
            self._reserved_bytes += count


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    requester: Requester
    admitted: "asyncio.Future[None]"


class FairSemaphore:
    """Places that go to the waiting caller who holds the fewest; one bulk request goes after some interactive ones."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: Counter[str] = Counter()
        self._waiters: list[_Waiter] = []
        self._interactive_in_row = 0

    @asynccontextmanager
    async def place(self, requester: Requester) -> AsyncIterator[None]:
        await self._acquire(requester)
        try:
            yield
        finally:
            self._release(requester.caller)

    async def _acquire(self, requester: Requester) -> None:
        waiter = _Waiter(requester, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._admit()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.admitted.cancelled():
                self._release(requester.caller)
            raise

    def _release(self, caller: str) -> None:
        self._free += 1
        self._held[caller] -= 1
        if not self._held[caller]:
            del self._held[caller]
        self._admit()

    def _admit(self) -> None:
        while waiter := self._next():
            self._waiters.remove(waiter)
            if waiter.admitted.done():
                continue
            self._free -= 1
            self._held[waiter.requester.caller] += 1
            self._interactive_in_row = 0 if waiter.requester.bulk else self._interactive_in_row + 1
            waiter.admitted.set_result(None)

    def _next(self) -> _Waiter | None:
        fitting = [waiter for waiter in self._waiters if self._held[waiter.requester.caller] < SHARE * self._free]
        bulk_first = self._interactive_in_row >= BULK_SHARE
        return min(fitting, key=lambda waiter: self._order(waiter.requester, bulk_first), default=None)

    def _order(self, requester: Requester, bulk_first: bool) -> tuple[bool, int]:
        return requester.bulk is not bulk_first, self._held[requester.caller]


class FairTurns:
    """Ranks by start-time fair queueing: what one caller queues at once is spread among what others queue.

    A bulk sample counts as several, so that interactive ones go more often.
    """

    def __init__(self) -> None:
        self._reached = 0.0
        self._last: dict[Requester, float] = {}

    def next(self, requester: Requester) -> float:
        """The rank that the next sample would get."""
        weight = BULK_SHARE if requester.bulk else 1
        return max(self._reached, self._last.get(requester, 0.0)) + weight

    def take(self, requester: Requester) -> float:
        rank = self._last[requester] = self.next(requester)
        return rank

    def reach(self, rank: float) -> None:
        """Whoever comes from now on comes after what was taken."""
        self._reached = max(self._reached, rank - 1)
        self._last = {requester: last for requester, last in self._last.items() if last > self._reached}


def _overloaded(what: str, **limit: int) -> Problem:
    detail = f"As many {what} are in flight as may be; try again shortly."
    return Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, **limit)


def _share_taken(what: str, **limit: int) -> Problem:
    detail = f"As many of your {what} are in flight as one caller may have now; wait until some have ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, **limit)
