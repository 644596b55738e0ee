"""Fair order between callers who share places or the batcher."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sightline.runtime.resources import MAX_CALLER_SHARE

BULK_SHARE = 4  # one bulk request runs after this many interactive ones


@dataclass(frozen=True, slots=True)
class Requester:
    """The caller whose share is used; bulk work yields to interactive work."""

    caller: str = ""
    bulk: bool = False


ANONYMOUS = Requester()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    requester: Requester
    admitted: "asyncio.Future[None]"


class FairSemaphore:
    """A semaphore whose places go to the waiting caller who holds the fewest, with a share for bulk requests."""

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
        fitting = [
            waiter for waiter in self._waiters if self._held[waiter.requester.caller] < MAX_CALLER_SHARE * self._free
        ]
        bulk_first = self._interactive_in_row >= BULK_SHARE
        return min(fitting, key=lambda waiter: self._order(waiter.requester, bulk_first), default=None)

    def _order(self, requester: Requester, bulk_first: bool) -> tuple[bool, int]:
        return requester.bulk is not bulk_first, self._held[requester.caller]


class FairRanks:
    """Ranks by start-time fair queueing: samples that one caller queues at once are spread among those of others.

    A bulk sample counts as several, so that interactive ones run more often.
    """

    def __init__(self) -> None:
        self._reached = 0.0
        self._last: dict[Requester, float] = {}

    def next(self, requester: Requester) -> float:
        """Returns the rank that the caller's next sample gets."""
        weight = BULK_SHARE if requester.bulk else 1
        return max(self._reached, self._last.get(requester, 0.0)) + weight

    def take(self, requester: Requester) -> float:
        rank = self._last[requester] = self.next(requester)
        return rank

    def reach(self, rank: float) -> None:
        """Records that a sample of this rank runs: samples of new callers rank after it."""
        self._reached = max(self._reached, rank - 1)
        self._last = {requester: last for requester, last in self._last.items() if last > self._reached}
