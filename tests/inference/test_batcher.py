"""The batcher, with a session made of NumPy."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.inference.batcher import MicroBatcher, SampleResult
from sightline.inference.latency_model import LatencyModel
from sightline.inference.signature import BucketKey, ModelSignature, Tensors, TensorSpec

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("x", "int64", ("n",)),),
    outputs=(TensorSpec("y", "int64", ("n",)),),
    buckets=({"n": 1}, {"n": 2}, {"n": 3}),
)
POISON = -1
SIZES = {(1,): (1, 2, 4), (2,): (1, 2), (3,): (1,)}
SECONDS_PER_SAMPLE = 0.5

pytestmark = pytest.mark.anyio


@dataclass
class DoublingSession:
    """y = 2 x; fails on poison, and on everything while broken."""

    provider: str = "numpy"
    precision: str = "exact"
    max_batch: int | None = None
    broken: bool = False
    batches: list[NDArray[Any]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def run(self, batch: Tensors) -> Tensors:
        self.threads.add(threading.get_ident())
        self.batches.append(batch["x"])
        if self.broken or (batch["x"] == POISON).any():
            raise ValueError("poison")
        return {"y": batch["x"] * 2}


@dataclass
class Tally:
    """An observer that remembers."""

    sizes: list[int] = field(default_factory=list)
    drops: list[str] = field(default_factory=list)
    failures: int = 0
    last_pending: int = 0

    def ran(self, size: int) -> None:
        self.sizes.append(size)

    def pending(self, samples: int) -> None:
        self.last_pending = samples

    def dropped(self, reason: str) -> None:
        self.drops.append(reason)

    def failed(self) -> None:
        self.failures += 1


class Bench:
    """A batcher whose thread starts when told to, so that a test decides what is queued by then."""

    def __init__(self, *, max_queue_s: float = 1e9) -> None:
        self.session, self.tally = DoublingSession(), Tally()
        measured: dict[BucketKey, dict[int, float]] = {
            ((n,),): {size: size * SECONDS_PER_SAMPLE for size in SIZES[(n,)]} for n in (1, 2, 3)
        }
        self.batcher = MicroBatcher(
            self.session, SIGNATURE, LatencyModel(measured), self.tally, max_queue_s=max_queue_s
        )
        self._thread = ThreadPoolExecutor(1)

    def submit(self, *values: int, deadline: float | None = None) -> "asyncio.Task[SampleResult]":
        sample = {"x": np.array(values, np.int64)}
        return asyncio.create_task(self.batcher.submit(sample, deadline=deadline))

    async def until_healthy(self, healthy: bool) -> None:
        async with asyncio.timeout(10):
            while self.batcher.healthy is not healthy:
                await asyncio.sleep(0.001)

    async def finish(self) -> None:
        """Do what is queued, and end."""
        self.batcher.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self.batcher.work)
        await asyncio.sleep(0)
        self._thread.shutdown()


def error_of(task: "asyncio.Task[SampleResult]") -> Problem:
    error = task.exception()
    assert isinstance(error, Problem)
    return error


async def test_queued_samples_run_in_batches_of_warmed_sizes() -> None:
    bench = Bench()
    tasks = [bench.submit(value) for value in range(7)]
    await asyncio.sleep(0)
    await bench.finish()
    assert [int(task.result().outputs["y"][0]) for task in tasks] == [0, 2, 4, 6, 8, 10, 12]
    assert bench.tally.sizes == [4, 2, 1]
    assert bench.tally.last_pending == 0


async def test_bucket_that_waits_longest_runs_first() -> None:
    bench = Bench()
    tasks = [bench.submit(1, 1), bench.submit(2), bench.submit(3, 3), bench.submit(4)]
    await asyncio.sleep(0)
    await bench.finish()
    assert [batch.tolist() for batch in bench.session.batches] == [[[1, 1], [3, 3]], [[2], [4]]]
    assert all(task.done() for task in tasks)


async def test_bad_sample_fails_alone() -> None:
    bench = Bench()
    tasks = [bench.submit(value) for value in (1, POISON, 3, 4)]
    await asyncio.sleep(0)
    await bench.finish()
    assert isinstance(tasks[1].exception(), ValueError)
    assert [int(tasks[index].result().outputs["y"][0]) for index in (0, 2, 3)] == [2, 6, 8]
    assert bench.tally.failures == 1
    assert bench.batcher.healthy


async def test_broken_session_is_unhealthy_until_it_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.inference.batcher.PROBE_INTERVAL_S", 0.01)
    bench = Bench()
    bench.session.broken = True
    task = bench.submit(1)
    await asyncio.sleep(0)
    working = asyncio.get_running_loop().run_in_executor(None, bench.batcher.work)
    with pytest.raises(ValueError, match="poison"):
        await task
    await bench.until_healthy(False)
    bench.session.broken = False
    await bench.until_healthy(True)
    bench.batcher.close()
    await working


async def test_cancelled_samples_leave_the_queue_at_once() -> None:
    bench = Bench()
    tasks = [bench.submit(1), bench.submit(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    assert bench.tally.last_pending == 1
    await bench.finish()
    assert bench.tally.drops == ["cancelled"]
    assert [batch.tolist() for batch in bench.session.batches] == [[[2]]]


async def test_expired_samples_do_not_run() -> None:
    bench = Bench()
    late, early = bench.submit(1, deadline=time.monotonic() - 1), bench.submit(2, deadline=time.monotonic() + 60)
    await asyncio.sleep(0)
    await bench.finish()
    assert error_of(late).code is Code.DEADLINE_EXCEEDED
    assert int(early.result().outputs["y"][0]) == 4
    assert bench.tally.drops == ["expired"]


async def test_refuses_more_work_than_the_bound_and_says_when_to_return() -> None:
    bench = Bench(max_queue_s=0.9)
    tasks = [bench.submit(value, value, value) for value in range(3)]
    await asyncio.sleep(0)
    problem = error_of(tasks[2])
    assert problem.code is Code.OVERLOADED
    assert problem.retry_after_s == pytest.approx(2 * SECONDS_PER_SAMPLE)
    await bench.finish()


async def test_later_samples_of_an_admitted_request_are_taken_whatever_is_queued() -> None:
    bench = Bench(max_queue_s=0.1)
    tasks = [asyncio.create_task(bench.batcher.submit({"x": np.array([value])}, admitted=True)) for value in range(3)]
    await asyncio.sleep(0)
    await bench.finish()
    assert [int(task.result().outputs["y"][0]) for task in tasks] == [0, 2, 4]


async def test_closed_batcher_refuses_samples() -> None:
    bench = Bench()
    bench.batcher.close()
    task = bench.submit(1)
    await asyncio.sleep(0)
    assert error_of(task).code is Code.NOT_READY
    await bench.finish()


async def test_abandoning_refuses_what_is_queued() -> None:
    bench = Bench()
    task = bench.submit(1)
    await asyncio.sleep(0)
    bench.batcher.abandon()
    await bench.finish()
    assert error_of(task).code is Code.NOT_READY
    assert not bench.session.batches


async def test_samples_of_no_bucket_are_refused() -> None:
    bench = Bench()
    task = bench.submit(1, 2, 3, 4)
    await asyncio.sleep(0)
    assert error_of(task).code is Code.INVALID_REQUEST
    await bench.finish()


async def test_backlog_counts_what_is_queued() -> None:
    bench = Bench()
    tasks = [bench.submit(value) for value in range(5)]
    await asyncio.sleep(0)
    assert bench.batcher.backlog_s == pytest.approx(5 * SECONDS_PER_SAMPLE)
    await bench.finish()
    assert bench.batcher.backlog_s == 0
    assert all(task.done() for task in tasks)


Asked = tuple[int, bool, bool]
asked = st.tuples(st.integers(1, 3), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(st.lists(asked, max_size=24))
def test_every_sample_gets_its_own_answer_or_its_own_error(requests: Sequence[Asked]) -> None:
    """Each request is a bucket, whether it is poisoned, and whether it is cancelled while queued."""
    asyncio.run(_check_property(requests))


async def _check_property(requests: Sequence[Asked]) -> None:
    bench = Bench()
    # Values begin at 1, as the probes after a failure are of zeros.
    tasks = [bench.submit(*[POISON if bad else value] * width) for value, (width, bad, _) in enumerate(requests, 1)]
    await asyncio.sleep(0)
    for task, (_, _, cancelled) in zip(tasks, requests, strict=True):
        if cancelled:
            task.cancel()
    await bench.finish()
    await asyncio.gather(*tasks, return_exceptions=True)
    for value, (task, (width, bad, cancelled)) in enumerate(zip(tasks, requests, strict=True), 1):
        if cancelled:
            assert task.cancelled()
        elif bad:
            assert isinstance(task.exception(), ValueError)
        else:
            assert task.result().outputs["y"].tolist() == [2 * value] * width
    _check_batches(bench, requests)


def _check_batches(bench: Bench, requests: Sequence[Asked]) -> None:
    ran = {int(row[0]) for batch in bench.session.batches for row in batch}
    assert not ran & {value for value, (_, bad, cancelled) in enumerate(requests, 1) if cancelled and not bad}
    assert all(len(batch) in SIZES[batch.shape[1:]] for batch in bench.session.batches)
    assert len(bench.session.threads) <= 1
    assert bench.tally.last_pending == 0


def test_samples_from_several_loops_share_the_session() -> None:
    bench = Bench()
    worker = threading.Thread(target=bench.batcher.work)
    worker.start()
    answers: dict[int, int] = {}

    def ask(value: int) -> None:
        answer = asyncio.run(bench.batcher.submit({"x": np.array([value])}))
        answers[value] = int(answer.outputs["y"][0])

    callers = [threading.Thread(target=ask, args=(value,)) for value in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    bench.batcher.close()
    worker.join()
    assert answers == {value: 2 * value for value in range(8)}
