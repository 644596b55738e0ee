"""What waits in the batcher's queues."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from sightline.inference.signature import BucketKey, Tensors


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The outputs of one sample, and how long the run took that it was part of."""

    outputs: Tensors
    ran_s: float


@dataclass(slots=True, eq=False)
class PendingSample:
    """A sample in the queue and whoever waits for it, on whatever event loop."""

    sample: Tensors
    key: BucketKey
    deadline: float | None
    future: "asyncio.Future[SampleResult]"
    loop: asyncio.AbstractEventLoop
    rank: float  # in which tickets are taken
    queued_at: float = field(default_factory=time.monotonic)

    @property
    def expired(self) -> bool:
        return self.deadline is not None and self.deadline <= time.monotonic()

    @property
    def dead(self) -> bool:
        """Nobody waits for it any more; a cancelled future says so before its task has been told."""
        return self.expired or self.future.done()

    def settle(self, result: SampleResult | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: SampleResult | Exception) -> None:
        if self.future.done():
            return
        if isinstance(result, SampleResult):
            self.future.set_result(result)
        else:
            self.future.set_exception(result)
