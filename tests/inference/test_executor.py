import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from sightline.api.problems import Code, Problem
from sightline.inference.batcher import MicroBatcher
from sightline.inference.executor import execute, run_inline
from sightline.inference.latency_model import LatencyModel
from sightline.inference.predictor import Plan, Round
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.stages import Stages

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("x", "int64", (1,)),), outputs=(TensorSpec("y", "int64", (1,)),), buckets=({},)
)
KEY = ((1,),)

pytestmark = pytest.mark.anyio


class SquaringSession:
    """y = x * x, once the gate is open."""

    provider, precision, max_batch = "numpy", "exact", None

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batch_sizes: list[int] = []

    def run(self, batch: Tensors) -> Tensors:
        assert self.gate.wait(10)
        self.batch_sizes.append(len(batch["x"]))
        if (batch["x"] < 0).any():
            raise ValueError("negative")
        return {"y": batch["x"] ** 2}


class PendingObserver:
    def __init__(self) -> None:
        self.samples = 0

    def pending(self, samples: int) -> None:
        self.samples = samples

    def ran(self, size: int) -> None: ...
    def dropped(self, reason: str) -> None: ...
    def failed(self) -> None: ...


@dataclass
class Trace:
    """Where a plan got to."""

    closed: bool = False
    threads: int = 0


def square_all(rounds: list[list[int]], trace: Trace) -> Plan[list[int]]:
    """Each round squares numbers; the result are all squares."""
    squares: list[int] = []
    try:
        for numbers in rounds:
            trace.threads = threading.get_ident()
            outputs = yield [{"x": np.array([number])} for number in numbers]
            squares += [int(output["y"][0]) for output in outputs]
        return squares
    finally:
        trace.closed = True


@dataclass
class Workshop:
    session: SquaringSession
    batcher: MicroBatcher
    observer: PendingObserver
    pool: ThreadPoolExecutor

    async def until_pending(self, samples: int) -> None:
        async with asyncio.timeout(10):
            while self.observer.samples != samples:
                await asyncio.sleep(0.001)

    async def execute(
        self, plan: Plan[list[int]], stages: Stages | None = None, *, at_once: int | None = None
    ) -> list[int]:
        stages = stages or Stages()
        return await execute(plan, batcher=self.batcher, pool=self.pool, stages=stages, at_once=at_once)


@asynccontextmanager
async def workshop(*, max_queue_s: float = 1e9) -> AsyncIterator[Workshop]:
    session = SquaringSession()
    latency_model = LatencyModel({KEY: {1: 1.0, 2: 1.0, 4: 1.0}})
    observer = PendingObserver()
    batcher = MicroBatcher(session, SIGNATURE, latency_model, observer, max_queue_s=max_queue_s)
    worker = threading.Thread(target=batcher.work)
    worker.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            yield Workshop(session, batcher, observer, pool)
    finally:
        session.gate.set()
        batcher.close()
        await asyncio.to_thread(worker.join)


def test_inline_runs_on_this_thread() -> None:
    trace = Trace()
    assert run_inline(square_all([[1, 2], [3]], trace), SquaringSession()) == [1, 4, 9]
    assert trace.threads == threading.get_ident()


async def test_outputs_come_back_in_the_order_of_their_samples() -> None:
    async with workshop() as shop:
        trace, stages = Trace(), Stages()
        assert await shop.execute(square_all([[3, 1, 2], [], [4]], trace), stages) == [9, 1, 4, 16]
        assert trace.threads != threading.get_ident()
        assert set(stages.seconds) == {"decode", "queue", "infer", "encode"}
        assert all(seconds >= 0 for seconds in stages.seconds.values())


async def test_share_of_a_plan_with_rounds_is_reported() -> None:
    def plan() -> Plan[list[float | None]]:
        told: list[float | None] = []
        for done in (0.0, 0.75):
            yield Round([{"x": np.array([1])}], done=done)
            told.append(stages.share)
        yield [{"x": np.array([1])}]
        return [*told, stages.share]

    async with workshop() as shop:
        stages = Stages()
        told = await execute(plan(), batcher=shop.batcher, pool=shop.pool, stages=stages)
        assert told == [0.0, 0.75, None]


async def test_samples_of_one_round_share_batches() -> None:
    async with workshop() as shop:
        shop.session.gate.clear()
        running = asyncio.create_task(shop.execute(square_all([[1] * 5], Trace())))
        await shop.until_pending(5)
        shop.session.gate.set()
        assert await running == [1] * 5
        assert len(shop.session.batch_sizes) < 5


async def test_plan_without_samples_returns_its_result() -> None:
    async with workshop() as shop:
        assert await shop.execute(square_all([], Trace())) == []


async def test_failing_sample_fails_its_plan_and_no_other() -> None:
    async with workshop() as shop:
        trace = Trace()
        bad = asyncio.create_task(shop.execute(square_all([[1, -1, 2]], trace)))
        good = asyncio.create_task(shop.execute(square_all([[5]], Trace())))
        with pytest.raises(ValueError, match="negative"):
            await bad
        assert await good == [25]
        assert trace.closed


async def test_cancelling_frees_the_queue_and_closes_the_plan() -> None:
    async with workshop() as shop:
        shop.session.gate.clear()
        trace = Trace()
        running = asyncio.create_task(shop.execute(square_all([[1], [2]], trace)))
        await shop.until_pending(1)
        waiting = asyncio.create_task(shop.execute(square_all([[3] * 3], Trace())))
        await shop.until_pending(4)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        await shop.until_pending(1)
        assert trace.closed
        shop.session.gate.set()
    assert shop.session.batch_sizes == [1]


async def test_plan_is_closed_only_after_its_thread_has_left_it() -> None:
    inside, leave, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Plan[list[int]]:
        try:
            inside.set()
            assert leave.wait(10)
            yield []
        finally:
            closed.set()
        return []

    async with workshop() as shop:
        task = asyncio.create_task(shop.execute(slow()))
        await asyncio.to_thread(inside.wait, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not closed.is_set()
        leave.set()
        assert await asyncio.to_thread(closed.wait, 10)


async def test_overload_is_checked_before_the_first_samples_only() -> None:
    async with workshop(max_queue_s=0.5) as shop:
        shop.session.gate.clear()
        admitted = asyncio.create_task(shop.execute(square_all([[1], [2, 3]], Trace())))
        await shop.until_pending(1)
        second = asyncio.create_task(shop.execute(square_all([[4]], Trace())))
        await shop.until_pending(2)
        with pytest.raises(Problem) as caught:
            await shop.execute(square_all([[5]], Trace()))
        assert caught.value.code is Code.OVERLOADED
        shop.session.gate.set()
        assert await admitted == [1, 4, 9]
        assert await second == [16]


async def test_plan_with_few_samples_at_once_is_never_refused_and_lets_others_run() -> None:
    async with workshop(max_queue_s=0.5) as shop:
        shop.session.gate.clear()
        running = asyncio.create_task(shop.execute(square_all([[1]], Trace())))
        await shop.until_pending(1)
        patient = asyncio.create_task(shop.execute(square_all([[2] * 7, [3]], Trace()), at_once=2))
        await shop.until_pending(3)
        another = asyncio.create_task(shop.execute(square_all([[4] * 7], Trace()), at_once=3))
        await shop.until_pending(6)
        shop.session.gate.set()
        assert await running == [1]
        assert await patient == [4] * 7 + [9]
        assert await another == [16] * 7


async def test_current_stage_of_a_plan_is_reported() -> None:
    async with workshop() as shop:
        shop.session.gate.clear()
        stages = Stages()
        running = asyncio.create_task(shop.execute(square_all([[1]], Trace()), stages))
        await shop.until_pending(1)
        assert stages.current == "infer"
        shop.session.gate.set()
        await running
