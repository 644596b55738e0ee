"""Brings samples of many requests together and runs them on the one thread that owns the session."""

import asyncio
import bisect
import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import structlog

from sightline.api.problems import Code, Problem
from sightline.inference.engine import Session
from sightline.inference.fair_queueing import ANONYMOUS, FairRanks, Requester
from sightline.inference.latency_model import LatencyModel
from sightline.inference.metrics import BatchObserver
from sightline.inference.signature import BucketKey, ModelSignature, Tensors
from sightline.runtime.errors import describe_error

log = structlog.get_logger()

PROBE_INTERVAL_S = 5.0


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


@dataclass(frozen=True, slots=True)
class _Running:
    size: int
    estimate_s: float
    began_at: float


class MicroBatcher:
    """Never waits for a batch to fill: whenever the session is free it takes what is queued, in turns between callers.

    `submit` is called on event loops, `work` runs until `close` on the thread that owns the session.
    """

    def __init__(
        self,
        session: Session,
        signature: ModelSignature,
        costs: LatencyModel,
        observer: BatchObserver,
        *,
        max_queue_s: float,
    ) -> None:
        self._session, self._signature, self._costs, self._observer = session, signature, costs, observer
        self._max_queue_s = max_queue_s
        self._queues: dict[BucketKey, list[PendingSample]] = {key: [] for key in signature.keys}  # by rank
        self._turns = FairRanks()
        self._changed = threading.Condition()
        self._running: _Running | None = None
        self._closed = False
        self.healthy = True

    async def submit(
        self,
        sample: Tensors,
        *,
        deadline: float | None = None,
        admitted: bool = False,
        requester: Requester = ANONYMOUS,
    ) -> SampleResult:
        """Infer one sample.

        `deadline` is of `time.monotonic`; a sample that has not begun by then is dropped. A request that was admitted
        once has its later samples taken whatever is queued, as its earlier ones are paid for.
        """
        key = self._signature.key_of(sample)
        if not admitted:
            self.check_room(requester)
        loop = asyncio.get_running_loop()
        with self._changed:
            ticket = PendingSample(sample, key, deadline, loop.create_future(), loop, self._turns.take(requester))
            self._put(ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._discard(ticket)
            raise

    def check_room(self, requester: Requester | None = None) -> None:
        """Refuse when more work is queued than may be; an empty queue has room however slow the model is.

        Of a requester, what counts is the work that goes before his next sample.
        """
        with self._changed:
            last = math.inf if requester is None else self._turns.next(requester)
            backlog_s = self._backlog_s(last) if any(self._queues.values()) else 0.0
        if backlog_s > self._max_queue_s:
            raise Problem(Code.OVERLOADED, "Too much work is queued.", retry_after_s=backlog_s)

    @property
    def has_room(self) -> bool:
        """Whether `check_room` would let a request pass."""
        try:
            self.check_room()
        except Problem:
            return False
        return True

    @property
    def backlog_s(self) -> float:
        """Estimated seconds until everything queued and running is done."""
        with self._changed:
            return self._backlog_s()

    @property
    def running_s(self) -> float:
        """For how long the current batch, or a probe of the session, has been running; 0 when there is none."""
        running = self._running
        return time.monotonic() - running.began_at if running else 0.0

    def work(self) -> None:
        """Run batches until closed and empty."""
        while (batch := self._next_batch()) is not None:
            if batch:
                self._run(batch)
            elif not self.healthy:
                self.healthy = self._probe()

    def close(self) -> None:
        """Take nothing more; `work` returns when what is queued is done."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> None:
        """Close, and refuse what is still queued."""
        self.close()
        with self._changed:
            for queue in self._queues.values():
                for ticket in queue:
                    ticket.settle(Problem(Code.NOT_READY, "The service stops."))
                queue.clear()
            self._observe_pending()

    def _put(self, ticket: PendingSample) -> None:
        """Only while `_changed` is held."""
        if self._closed:
            raise Problem(Code.NOT_READY, "The service stops.")
        bisect.insort(self._queues[ticket.key], ticket, key=lambda each: each.rank)
        self._observe_pending()
        self._changed.notify()

    def _discard(self, ticket: PendingSample) -> None:
        with self._changed:
            if ticket in self._queues[ticket.key]:
                self._drop(ticket)

    def _drop(self, ticket: PendingSample) -> None:
        self._queues[ticket.key].remove(ticket)
        self._observer.dropped("cancelled" if ticket.future.done() else "expired")
        ticket.settle(Problem(Code.DEADLINE_EXCEEDED, "The deadline passed before the model was free."))
        self._observe_pending()

    def _next_batch(self) -> list[PendingSample] | None:
        """The next batch; empty when an unhealthy session should be probed, None when there is no more to do."""
        with self._changed:
            while True:
                self._drop_dead()
                if batch := self._take():
                    return batch
                if self._closed:
                    return None
                if not self._changed.wait(None if self.healthy else PROBE_INTERVAL_S):
                    return []

    def _drop_dead(self) -> None:
        for queue in self._queues.values():
            for ticket in [each for each in queue if each.dead]:
                self._drop(ticket)

    def _take(self) -> list[PendingSample]:
        queue = min((queue for queue in self._queues.values() if queue), key=lambda q: q[0].rank, default=None)
        if queue is None:
            return []
        size = self._costs.largest_batch(queue[0].key, len(queue))
        batch = queue[:size]
        del queue[:size]
        self._turns.reach(batch[0].rank)
        self._running = _Running(size, self._costs.estimate_s(batch[0].key, size), time.monotonic())
        self._observe_pending()
        return batch

    def _run(self, batch: Sequence[PendingSample]) -> None:
        try:
            self._infer(batch)
        except Exception as error:
            self._recover(batch, error)
        finally:
            with self._changed:
                self._running = None
                self._observe_pending()

    def _infer(self, batch: Sequence[PendingSample]) -> None:
        started = time.monotonic()
        outputs = self._session.run(_stack([ticket.sample for ticket in batch]))
        seconds = time.monotonic() - started
        with self._changed:
            self._costs.observe(batch[0].key, len(batch), seconds)
        self.healthy = True
        self._observer.ran(len(batch))
        for index, ticket in enumerate(batch):
            ticket.settle(SampleResult({name: values[index] for name, values in outputs.items()}, seconds))

    def _recover(self, batch: Sequence[PendingSample], error: Exception) -> None:
        """Find out whose fault it was: run each sample alone, so that only the bad one fails."""
        log.warning("batch_failed", size=len(batch), **describe_error(error))
        if len(batch) == 1:
            self._observer.failed()
            batch[0].settle(error)
            self.healthy = self._probe()
            return
        for ticket in batch:
            try:
                self._infer([ticket])
            except Exception as alone:
                self._recover([ticket], alone)

    def _probe(self) -> bool:
        """Whether the session still runs a blank sample: after a failure that tells a bad sample from a bad device."""
        self._running = _Running(1, 0.0, time.monotonic())
        try:
            self._session.run(self._signature.blank(self._signature.keys[0], batch=1))
        except Exception as error:
            log.error("session_unhealthy", **describe_error(error))
            return False
        finally:
            self._running = None
        return True

    def _backlog_s(self, last: float = math.inf) -> float:
        """Of all tickets up to a rank."""
        ahead = {
            key: bisect.bisect_right(queue, last, key=lambda each: each.rank) for key, queue in self._queues.items()
        }
        queued_s = sum(self._costs.estimate_s(key, count) for key, count in ahead.items())
        if self._running is None:
            return queued_s
        return queued_s + max(0.0, self._running.began_at + self._running.estimate_s - time.monotonic())

    def _observe_pending(self) -> None:
        running = self._running.size if self._running else 0
        self._observer.pending(sum(map(len, self._queues.values())) + running)


def _stack(samples: Sequence[Tensors]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
