"""Drives plans: their own steps on the codec threads, the samples they yield through the batcher."""

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
from sightline.inference.fair_queueing import ANONYMOUS, Requester
from sightline.inference.predictor import Plan, Round
from sightline.inference.signature import Tensors
from sightline.inference.stages import Stage, Stages
from sightline.runtime.tracing import record_span, span

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class _Wanted:
    samples: Sequence[Tensors]


@dataclass(frozen=True, slots=True)
class _Finished(Generic[ResultT]):
    result: ResultT


@dataclass(frozen=True, slots=True)
class _Step(Generic[ResultT]):
    """What a step came to; the generator's StopIteration cannot travel through a future."""

    outcome: _Wanted | _Finished[ResultT]
    began_at: float
    ended_at: float


def run_inline(plan: Plan[ResultT], session: Session) -> ResultT:
    """Drive a plan on this thread, one sample at a time."""
    outcome = _advance(plan, None)
    while isinstance(outcome, _Wanted):
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
    """Drive a plan; cancelling this frees its queued samples at once and closes the plan.

    A plan that may have only so many samples queued `at_once` lets those of others in between, and in return is never
    refused, however much is queued.
    """
    run = _Execution(plan, batcher, pool, stages, deadline, at_once, requester)
    try:
        return await run.finish()
    finally:
        run.close()


class _Execution(Generic[ResultT]):
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
        self._turn: AbstractAsyncContextManager[None] = nullcontext() if at_once is None else asyncio.Semaphore(at_once)
        self._step: Future[_Step[ResultT]] | None = None
        self._cancellation = Cancellation()

    async def finish(self) -> ResultT:
        self._stages.current = Stage.DECODE
        outcome = await self._advance(None)
        while isinstance(outcome, _Wanted):
            if not self._admitted:
                self._batcher.check_room(self._requester)
                self._admitted = True
            outcome = await self._advance(await self._infer(outcome.samples))
        return outcome.result

    def close(self) -> None:
        """Close the generator, once the thread that may still be inside it has left."""
        if self._step is None:
            self._plan.close()
        else:
            # The thread may be waiting for a decoder, whose picture nobody wants any more.
            self._cancellation.cancel()
            self._step.add_done_callback(lambda _: self._plan.close())

    async def _advance(self, outputs: Sequence[Tensors] | None) -> _Wanted | _Finished[ResultT]:
        queued_at = time.perf_counter()
        self._step = self._pool.submit(_timed_advance, self._plan, outputs, self._cancellation)
        step = await asyncio.wrap_future(self._step)
        self._stages.add(Stage.QUEUE, step.began_at - queued_at)
        stage = Stage.DECODE if isinstance(step.outcome, _Wanted) else Stage.ENCODE
        self._stages.add(stage, step.ended_at - step.began_at)
        record_span(stage, step.ended_at - step.began_at)
        return step.outcome

    async def _infer(self, samples: Sequence[Tensors]) -> list[Tensors]:
        """All samples at once; what the round took beyond its longest run was waiting."""
        self._stages.current, started = Stage.INFER, time.perf_counter()
        self._stages.share = samples.done if isinstance(samples, Round) else None
        with span("round", samples=len(samples)):
            answers = await self._submit_all(samples)
            ran_s = max((answer.ran_s for answer in answers), default=0.0)
            record_span("session", ran_s)
        self._stages.add(Stage.INFER, ran_s)
        self._stages.add(Stage.QUEUE, max(0.0, time.perf_counter() - started - ran_s))
        return [answer.outputs for answer in answers]

    async def _submit_all(self, samples: Sequence[Tensors]) -> list[SampleResult]:
        tasks = [asyncio.create_task(self._submit(sample)) for sample in samples]
        try:
            return await asyncio.gather(*tasks)
        finally:
            # When one fails the request fails, and the others would run for nobody.
            for task in tasks:
                task.cancel()

    async def _submit(self, sample: Tensors) -> SampleResult:
        async with self._turn:
            return await self._batcher.submit(sample, deadline=self._deadline, admitted=True, requester=self._requester)


def _advance(plan: Plan[ResultT], outputs: Sequence[Tensors] | None) -> _Wanted | _Finished[ResultT]:
    try:
        return _Wanted(next(plan) if outputs is None else plan.send(outputs))
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
