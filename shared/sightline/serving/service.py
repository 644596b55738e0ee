"""The model service: loads and warms one model in the background, runs plans, drains at the end."""

import asyncio
import faulthandler
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from typing import TypeVar

import structlog

from sightline.api.evidence import ModelIdentity
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter, Permit
from sightline.http.deadlines import enforce_deadline
from sightline.imaging.decoder import pool as decoder_pool
from sightline.inference.batcher import MicroBatcher
from sightline.inference.catalogue.entries import shipped_catalogue
from sightline.inference.engine import Session, open_session
from sightline.inference.executor import execute
from sightline.inference.fair_queue import ANONYMOUS, Requester
from sightline.inference.latency_model import warm
from sightline.inference.memory import release_unused_memory
from sightline.inference.metrics import MetricsObserver, ServiceMetrics
from sightline.inference.predictor import AnyPredictor, Plan
from sightline.inference.seal import Seal
from sightline.inference.stages import Stage, Stages
from sightline.runtime.tasks import TaskSupervisor
from sightline.runtime.tracing import exemplar
from sightline.serving.lanes import Lanes
from sightline.serving.settings import ServiceSettings
from sightline.serving.worker.health import WorkerHealth

log = structlog.get_logger()

ResultT = TypeVar("ResultT")

WATCH_INTERVAL_S = 1.0
IDLE_S = 5.0
"""Time without work after which a service returns memory; under steady load it never does, which would cost time."""


class ServiceState(StrEnum):
    """The state of a service; only a ready one takes requests."""

    WARMING = "warming"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    FAILED = "failed"


DETAILS = {
    ServiceState.WARMING: "The model is loading and warming up.",
    ServiceState.UNHEALTHY: "The model failed on its last batch.",
    ServiceState.DRAINING: "The service is stopping.",
    ServiceState.FAILED: "The model did not load.",
}


def end_process() -> None:
    """Ends this process at once: an orderly end would wait for ever for a thread that hangs."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    faulthandler.dump_traceback(sys.stderr.fileno())  # names of functions and lines, no values
    os._exit(os.EX_SOFTWARE)


class ModelService:
    """One model in service: its predictor, session thread, batcher, lanes and limits."""

    def __init__(
        self,
        predictor: AnyPredictor,
        settings: ServiceSettings,
        metrics: ServiceMetrics,
        on_fatal: Callable[[], None],
        on_stall: Callable[[], None] = end_process,
    ) -> None:
        self.predictor, self.settings, self.metrics = predictor, settings, metrics
        self._on_fatal, self._on_stall = on_fatal, on_stall
        self.identity: ModelIdentity = predictor.weights.identity(predictor.declaration.name)
        self.signature = predictor.weights.contract.adapt(predictor.signature)
        self.limiter = ConcurrencyLimiter(
            max_requests=settings.max_in_flight, max_bytes=settings.max_in_flight_bytes, always_admit_one=True
        )
        self.seal = Seal.of(settings)
        self._lanes = Lanes(settings)
        self._engine_thread = ThreadPoolExecutor(1, "engine")
        self._session: Session | None = None
        self._batcher: MicroBatcher | None = None
        self._drain_by = math.inf
        self._failed = False
        self._running_plans = 0
        self._worked_at = math.inf  # when the last plan ended, if no memory was returned since
        self.tasks = TaskSupervisor()
        self.worker_health: WorkerHealth | None = None  # None where this replica works on no jobs
        metrics.initialise(self.name)
        metrics.ready.labels(self.name).set_function(lambda: self.state is ServiceState.READY)

    @property
    def name(self) -> str:
        return self.predictor.declaration.name

    @property
    def stronger_weights(self) -> str | None:
        """A sentence on an entry of the catalogue with a better measured quality; None for own weights."""
        settings, entry = self.settings, self.settings.catalogue_entry
        if entry is None and (settings.weights or settings.detector):
            return None
        stronger = shipped_catalogue().stronger(self.name, entry)
        return stronger.advice if stronger else None

    @property
    def state(self) -> ServiceState:
        if self._failed or self.tasks.failure is not None:
            return ServiceState.FAILED
        if self._drain_by < math.inf:
            return ServiceState.DRAINING
        if self._batcher is None:
            return ServiceState.WARMING
        return ServiceState.READY if self._batcher.healthy and not self._stalls else ServiceState.UNHEALTHY

    @property
    def _stalls(self) -> bool:
        return self._batcher is not None and self._batcher.running_s > self.settings.stall_s

    @property
    def session(self) -> Session:
        if self._session is None:
            raise self._not_ready()
        return self._session

    @property
    def batcher(self) -> MicroBatcher:
        if self._batcher is None:
            raise self._not_ready()
        return self._batcher

    def require_ready(self) -> None:
        if self.state is not ServiceState.READY:
            raise self._not_ready()

    def require_room(self, requester: Requester) -> None:
        """Raises Problem where the request would only wait, before its body is read or a pixel decoded."""
        self.require_ready()
        with self._counting_shed():
            self.batcher.check_room(requester)

    @property
    def has_room(self) -> bool:
        """True while the service is ready and its batcher has room for another request."""
        return self.state is ServiceState.READY and self.batcher.has_room

    @contextmanager
    def hold(self, size_bytes: int, requester: Requester = ANONYMOUS) -> Iterator[None]:
        """Holds a place for a request whose body has at most so many bytes."""
        with ExitStack() as place:
            with self._counting_shed():
                place.enter_context(Permit(self.limiter, requester.caller).admit(size_bytes))
            yield

    def start_draining(self) -> None:
        """Refuses requests from now on."""
        self.tasks.stopping = True
        self._drain_by = min(self._drain_by, time.monotonic() + self.settings.drain_s)

    @property
    def drain_left_s(self) -> float:
        """Seconds that a stopping service still has for accepted work."""
        return max(0.0, self._drain_by - time.monotonic())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Loads the model in the background, while `/livez` already answers; drains at the end."""
        self._lanes.start()
        try:
            async with (
                self.tasks.running("engine", self._run_engine()),
                self.tasks.running("stall watch", self._watch_stalls()),
                self.tasks.running("memory release", self._release_memory_when_idle()),
            ):
                try:
                    with decoder_pool.observe_terminations(self._count_ended_decoder):
                        yield
                finally:
                    self.start_draining()
                    await self._drain()
        finally:
            self._lanes.shut_down()
            self._engine_thread.shutdown(wait=False)

    async def run(
        self,
        plan: Plan[ResultT],
        stages: Stages,
        deadline: float,
        *,
        pictures: Sequence[bytes] = (),
        at_once: int | None = None,
        requester: Requester = ANONYMOUS,
    ) -> ResultT:
        """Runs a plan by its deadline, as soon as there is room for its pictures in memory, and returns its result.

        at_once: for jobs, the number of samples that may be queued together; such a plan is never refused. Without it,
        raises Problem OVERLOADED where too much work is queued. Raises Problem TOO_MANY_PIXELS where the pictures have
        too many together.
        """
        queued_at = time.perf_counter()
        with self._counting_shed():
            async with (
                enforce_deadline(deadline),
                self._lanes.place(requester, pictures, is_job=at_once is not None) as pool,
            ):
                stages.add(Stage.QUEUE, time.perf_counter() - queued_at)
                with self._counting_plans():
                    return await execute(
                        plan,
                        batcher=self.batcher,
                        pool=pool,
                        stages=stages,
                        deadline=deadline,
                        at_once=at_once,
                        requester=requester,
                    )

    def observe(self, stages: Stages) -> None:
        for stage, seconds in stages.seconds.items():
            self.metrics.stage_duration_s.labels(self.name, stage).observe(seconds, exemplar())

    def _count_ended_decoder(self, reason: str) -> None:
        self.metrics.ended_decoders.labels(self.name, reason).inc()
        log.warning("decoder_ended", reason=reason)

    @contextmanager
    def _counting_shed(self) -> Iterator[None]:
        try:
            yield
        except Problem as problem:
            if problem.code in (Code.OVERLOADED, Code.TOO_MANY_REQUESTS):
                self.metrics.shed.labels(self.name).inc()
            raise

    @contextmanager
    def _counting_plans(self) -> Iterator[None]:
        self._running_plans += 1
        try:
            yield
        finally:
            self._running_plans -= 1
            self._worked_at = time.monotonic()

    async def _release_memory_when_idle(self) -> None:
        """Returns the memory of large pictures and batches once no plan has run for a while."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if not self._running_plans and time.monotonic() - self._worked_at >= IDLE_S:
                self._worked_at = math.inf
                await self._lanes.run(release_unused_memory)

    async def _run_engine(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            batcher = await loop.run_in_executor(self._engine_thread, self._load)
            self._batcher = batcher
            log.info("ready", model=str(self.identity), provider=self.session.provider)
            await loop.run_in_executor(self._engine_thread, batcher.work)
        except Exception as error:
            self._failed = self.tasks.stopping = True  # the process ends, so the end of its tasks is expected
            log.critical("model_failed", model=str(self.identity), error=str(error), exc_info=error)
            self._on_fatal()

    async def _watch_stalls(self) -> None:
        """Ends the process when a batch hangs: its thread can be neither stopped nor replaced."""
        while True:
            await asyncio.sleep(min(WATCH_INTERVAL_S, self.settings.stall_s))
            if self._stalls:
                log.critical("batch_stalled", model=str(self.identity), stall_s=self.settings.stall_s)
                self._on_stall()

    def _load(self) -> MicroBatcher:
        session = open_session(self.predictor, self.settings)
        latency_model = warm(session, self.signature, max_batch=self.settings.largest_batch)
        release_unused_memory()  # batches while serving are mostly smaller than the largest that warming tried
        self._session = session
        self.metrics.provider.labels(self.name).info({"provider": session.provider, "precision": session.precision})
        log.info(
            "warmed", provider=session.provider, batch_sizes=[list(sizes) for sizes in latency_model.sizes.values()]
        )
        observer = MetricsObserver(self.metrics, self.name)
        max_queue_s = self.settings.max_queue_ms / 1e3
        return MicroBatcher(session, self.signature, latency_model, observer, max_queue_s=max_queue_s)

    async def _drain(self) -> None:
        """Waits for accepted requests, for as long as the settings allow."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s):
                await self.limiter.empty.wait()
        if self._batcher is not None:
            self._batcher.abandon()

    def _not_ready(self) -> Problem:
        state, failure = self.state, None if self._failed else self.tasks.failure
        detail = failure or DETAILS.get(state, "The service is not ready.")
        return Problem(Code.NOT_READY, detail, retry_after_s=1, state=state)
