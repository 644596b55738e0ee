"""The micro-batcher: collects samples of many requests into batches for the one thread that owns the session."""

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
from sightline.inference.fair_queue import ANONYMOUS, FairRanks, Requester
from sightline.inference.latency_model import LatencyModel
from sightline.inference.metrics import BatchObserver
from sightline.inference.signature import BucketKey, ModelSignature, Tensors
from sightline.runtime.errors import describe_error

log = structlog.get_logger()

PROBE_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class SampleResult:
    """The outputs of one sample, and the duration of the run that it was part of."""

    outputs: Tensors
    ran_s: float


@dataclass(slots=True, eq=False)
class PendingSample:
    """A queued sample and the future that awaits its result, on any event loop."""

    sample: Tensors
    key: BucketKey
    deadline: float | None
    future: "asyncio.Future[SampleResult]"
    loop: asyncio.AbstractEventLoop
    rank: float  # samples are taken in ascending order of it
    queued_at: float = field(default_factory=time.monotonic)

    @property
    def expired(self) -> bool:
        return self.deadline is not None and self.deadline <= time.monotonic()

    @property
    def obsolete(self) -> bool:
        """True if nothing awaits the result: its deadline has passed, or its future was cancelled."""
        return self.expired or self.future.done()

    def resolve(self, result: SampleResult | Exception) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nothing awaits the result
            self.loop.call_soon_threadsafe(self._resolve, result)

    def _resolve(self, result: SampleResult | Exception) -> None:
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
    """A work-conserving batcher: whenever the session is free, it takes what is queued, in turns between callers.

    `submit` is called on event loops; `work` runs until `close`, on the thread that owns the session.
    """

    def __init__(
        self,
        session: Session,
        signature: ModelSignature,
        latency_model: LatencyModel,
        observer: BatchObserver,
        *,
        max_queue_s: float,
    ) -> None:
        self._session, self._signature, self._latency_model, self._observer = (
            session,
            signature,
            latency_model,
            observer,
        )
        self._max_queue_s = max_queue_s
        self._queues: dict[BucketKey, list[PendingSample]] = {key: [] for key in signature.keys}  # by rank
        self._ranks = FairRanks()
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
        """Infers one sample.

        deadline: on the clock of `time.monotonic`; a sample that has not begun by then is dropped. admitted: the sample
        is accepted however much is queued, because its request has been admitted before.
        """
        key = self._signature.key_of(sample)
        if not admitted:
            self.check_room(requester)
        loop = asyncio.get_running_loop()
        with self._changed:
            pending = PendingSample(sample, key, deadline, loop.create_future(), loop, self._ranks.take(requester))
            self._put(pending)
        try:
            return await pending.future
        except asyncio.CancelledError:
            self._discard(pending)
            raise

    def check_room(self, requester: Requester | None = None) -> None:
        """Raises Problem OVERLOADED when more work is queued than may be; an empty queue always has room.

        With a requester, only the work that runs before the requester's next sample counts.
        """
        with self._changed:
            last = math.inf if requester is None else self._ranks.next(requester)
            backlog_s = self._backlog_s(last) if any(self._queues.values()) else 0.0
        if backlog_s > self._max_queue_s:
            raise Problem(Code.OVERLOADED, "Too much work is queued; try again later.", retry_after_s=backlog_s)

    @property
    def has_room(self) -> bool:
        """True if `check_room` would accept a request."""
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
        """Seconds since the current batch, or probe of the session, began; 0 when there is none."""
        running = self._running
        return time.monotonic() - running.began_at if running else 0.0

    def work(self) -> None:
        """Runs batches until closed and empty."""
        while (batch := self._next_batch()) is not None:
            if batch:
                self._run(batch)
            elif not self.healthy:
                self.healthy = self._probe()

    def close(self) -> None:
        """Accepts no more samples; `work` returns when the queued ones are done."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> None:
        """Closes, and refuses the samples that are still queued."""
        self.close()
        with self._changed:
            for queue in self._queues.values():
                for pending in queue:
                    pending.resolve(Problem(Code.NOT_READY, "The service is stopping; try again shortly."))
                queue.clear()
            self._observe_pending()

    def _put(self, pending: PendingSample) -> None:
        """Queues a sample; call it only while `_changed` is held."""
        if self._closed:
            raise Problem(Code.NOT_READY, "The service is stopping; try again shortly.")
        bisect.insort(self._queues[pending.key], pending, key=lambda each: each.rank)
        self._observe_pending()
        self._changed.notify()

    def _discard(self, pending: PendingSample) -> None:
        with self._changed:
            if pending in self._queues[pending.key]:
                self._drop(pending)

    def _drop(self, pending: PendingSample) -> None:
        self._queues[pending.key].remove(pending)
        self._observer.dropped("cancelled" if pending.future.done() else "expired")
        pending.resolve(
            Problem(Code.DEADLINE_EXCEEDED, "The deadline passed before the model was free; allow more time.")
        )
        self._observe_pending()

    def _next_batch(self) -> list[PendingSample] | None:
        """Returns the next batch; empty when an unhealthy session should be probed, None when all is done."""
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
            for pending in [each for each in queue if each.obsolete]:
                self._drop(pending)

    def _take(self) -> list[PendingSample]:
        queue = min((queue for queue in self._queues.values() if queue), key=lambda q: q[0].rank, default=None)
        if queue is None:
            return []
        size = self._latency_model.largest_batch(queue[0].key, len(queue))
        batch = queue[:size]
        del queue[:size]
        self._ranks.reach(batch[0].rank)
        self._running = _Running(size, self._latency_model.estimate_s(batch[0].key, size), time.monotonic())
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
        outputs = self._session.run(_stack([pending.sample for pending in batch]))
        seconds = time.monotonic() - started
        with self._changed:
            self._latency_model.observe(batch[0].key, len(batch), seconds)
        self.healthy = True
        self._observer.ran(len(batch))
        for index, pending in enumerate(batch):
            pending.resolve(SampleResult({name: values[index] for name, values in outputs.items()}, seconds))

    def _recover(self, batch: Sequence[PendingSample], error: Exception) -> None:
        """Runs each sample of a failed batch alone, so that only the bad one fails."""
        log.warning("batch_failed", size=len(batch), **describe_error(error))
        if len(batch) == 1:
            self._observer.failed()
            batch[0].resolve(error)
            self.healthy = self._probe()
            return
        for pending in batch:
            try:
                self._infer([pending])
            except Exception as alone:
                self._recover([pending], alone)

    def _probe(self) -> bool:
        """Returns whether the session still runs a blank sample, which tells a bad device from a bad sample."""
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
        """Returns the estimated seconds of all samples up to a rank."""
        ahead = {
            key: bisect.bisect_right(queue, last, key=lambda each: each.rank) for key, queue in self._queues.items()
        }
        queued_s = sum(self._latency_model.estimate_s(key, count) for key, count in ahead.items())
        if self._running is None:
            return queued_s
        return queued_s + max(0.0, self._running.began_at + self._running.estimate_s - time.monotonic())

    def _observe_pending(self) -> None:
        running = self._running.size if self._running else 0
        self._observer.pending(sum(map(len, self._queues.values())) + running)


def _stack(samples: Sequence[Tensors]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
