"""Execution of plans: their own steps on a thread pool, the samples they yield through the batcher."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from sightline.imaging.decoder.pool import Cancellation
from sightline.inference.batcher import MicroBatcher, SampleResult
from sightline.inference.engine import Session
from sightline.inference.fair_queue import ANONYMOUS, Requester
from sightline.inference.predictor import Plan, Round
from sightline.inference.signature import Tensors
from sightline.inference.stages import Stage, Stages
from sightline.runtime.tracing import record_span, span

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class _Samples:
    samples: Sequence[Tensors]


@dataclass(frozen=True, slots=True)
class _Finished(Generic[ResultT]):
    result: ResultT


@dataclass(frozen=True, slots=True)
class _Step(Generic[ResultT]):
    """The outcome of a step; the generator's StopIteration cannot pass through a future."""

    outcome: _Samples | _Finished[ResultT]
    began_at: float
    ended_at: float


def run_inline(plan: Plan[ResultT], session: Session) -> ResultT:
    """Runs a plan on this thread, one sample at a time, and returns its result."""
    outcome = _advance(plan, None)
    while isinstance(outcome, _Samples):
        outcome = _advance(plan, [_run_one(session, sample) for sample in outcome.samples])
    return outcome.result


async def execute(
    plan: Plan[ResultT],
    *,
    batcher: MicroBatcher,
    pool: ThreadPoolExecutor,
    stages: Stages,
    deadline: float | None = None,
    at_once: int | None = None,
    requester: Requester = ANONYMOUS,
) -> ResultT:
    """Runs a plan and returns its result; cancelling this frees its queued samples at once and closes the plan.

    at_once: number of samples that the plan may have queued together, so that samples of other plans run in between.
    Such a plan is never refused; without it, the first samples are refused where too much work is queued.
    """
    run = _Execution(plan, batcher, pool, stages, deadline, at_once, requester)
    try:
        return await run.finish()
    finally:
        run.close()


class _Execution(Generic[ResultT]):
    """One plan while it runs: its steps on the pool, and its samples in the batcher."""

    def __init__(
        self,
        plan: Plan[ResultT],
        batcher: MicroBatcher,
        pool: ThreadPoolExecutor,
        stages: Stages,
        deadline: float | None,
        at_once: int | None,
        requester: Requester,
    ) -> None:
        self._plan, self._batcher, self._pool, self._stages, self._deadline = plan, batcher, pool, stages, deadline
        self._requester, self._admitted = requester, at_once is not None
        self._queue_place: AbstractAsyncContextManager[None] = (
            nullcontext() if at_once is None else asyncio.Semaphore(at_once)
        )
        self._step: Future[_Step[ResultT]] | None = None
        self._cancellation = Cancellation()

    async def finish(self) -> ResultT:
        self._stages.current = Stage.DECODE
        outcome = await self._advance(None)
        while isinstance(outcome, _Samples):
            if not self._admitted:
                self._batcher.check_room(self._requester)
                self._admitted = True
            outcome = await self._advance(await self._infer(outcome.samples))
        return outcome.result

    def close(self) -> None:
        """Closes the generator; if a thread is still running a step of it, after that step."""
        if self._step is None:
            self._plan.close()
        else:
            # Ends the step early where it waits for a decoder process.
            self._cancellation.cancel()
            self._step.add_done_callback(lambda _: self._plan.close())

    async def _advance(self, outputs: Sequence[Tensors] | None) -> _Samples | _Finished[ResultT]:
        queued_at = time.perf_counter()
        self._step = self._pool.submit(_timed_advance, self._plan, outputs, self._cancellation)
        step = await asyncio.wrap_future(self._step)
        self._stages.add(Stage.QUEUE, step.began_at - queued_at)
        stage = Stage.DECODE if isinstance(step.outcome, _Samples) else Stage.ENCODE
        self._stages.add(stage, step.ended_at - step.began_at)
        record_span(stage, step.ended_at - step.began_at)
        return step.outcome

    async def _infer(self, samples: Sequence[Tensors]) -> list[Tensors]:
        """Infers all samples at once; the time of the round beyond its longest run counts as waiting."""
        self._stages.current, started = Stage.INFER, time.perf_counter()
        self._stages.share = samples.done if isinstance(samples, Round) else None
        with span("round", samples=len(samples)):
            results = await self._submit_all(samples)
            ran_s = max((result.ran_s for result in results), default=0.0)
            record_span("session", ran_s)
        self._stages.add(Stage.INFER, ran_s)
        self._stages.add(Stage.QUEUE, max(0.0, time.perf_counter() - started - ran_s))
        return [result.outputs for result in results]

    async def _submit_all(self, samples: Sequence[Tensors]) -> list[SampleResult]:
        tasks = [asyncio.create_task(self._submit(sample)) for sample in samples]
        try:
            return await asyncio.gather(*tasks)
        finally:
            # If one sample fails, the request fails, so the others must not occupy the batcher.
            for task in tasks:
                task.cancel()

    async def _submit(self, sample: Tensors) -> SampleResult:
        async with self._queue_place:
            return await self._batcher.submit(sample, deadline=self._deadline, admitted=True, requester=self._requester)


def _advance(plan: Plan[ResultT], outputs: Sequence[Tensors] | None) -> _Samples | _Finished[ResultT]:
    try:
        return _Samples(next(plan) if outputs is None else plan.send(outputs))
    except StopIteration as stop:
        return _Finished(stop.value)


def _timed_advance(
    plan: Plan[ResultT], outputs: Sequence[Tensors] | None, cancellation: Cancellation
) -> _Step[ResultT]:
    began_at = time.perf_counter()
    with cancellation.active():
        outcome = _advance(plan, outputs)
    return _Step(outcome, began_at, time.perf_counter())


def _run_one(session: Session, sample: Tensors) -> Tensors:
    outputs = session.run({name: np.expand_dims(values, 0) for name, values in sample.items()})
    return {name: values[0] for name, values in outputs.items()}
