import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sightline.jobs.connection import connect
from sightline.jobs.job import JobState, Lease
from sightline.jobs.leases import LeaseRenewer, Leases
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import MODEL, Bench, OpenBench, outcome, submission
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio

SHORT_LEASE_S = 0.3


@pytest.fixture
def hasty(open_bench: OpenBench) -> Bench:
    return open_bench(lease_s=SHORT_LEASE_S, max_lost_leases=100, max_attempts=100)


@contextmanager
def keeping(bench: Bench, url: str, lost: Callable[[Lease], None]) -> Iterator[LeaseRenewer]:
    keeper = LeaseRenewer(url, bench.settings, lost=lost)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


async def test_a_blocked_event_loop_loses_no_lease(hasty: Bench, any_redis: RedisServer) -> None:
    await hasty.queue.submit(submission("one"))
    lost: list[Lease] = []
    with keeping(hasty, any_redis.url, lost.append) as keeper:
        lease = await hasty.take()
        keeper.add(lease)
        time.sleep(3 * SHORT_LEASE_S)  # noqa: ASYNC251 - the loop is to be blocked
        assert await hasty.maintenance.recover(MODEL) == 0
        keeper.remove(lease)

    assert await hasty.leases.finish(lease, outcome())
    assert lost == []


async def test_without_renewal_a_lease_runs_out(hasty: Bench) -> None:
    await hasty.queue.submit(submission("one"))
    late = await hasty.take()
    while not await hasty.maintenance.recover(MODEL):
        await asyncio.sleep(0.02)

    assert (await hasty.take()).job.attempts == 2
    assert not await hasty.leases.finish(late, outcome())


@pytest.mark.parametrize("reason", ["cancelled", "recovered", "purged"])
async def test_lost_lease_is_reported_once(hasty: Bench, any_redis: RedisServer, reason: str) -> None:
    for name in ("one", "two"):
        await hasty.queue.submit(submission(name))
    lost: list[Lease] = []
    told = threading.Event()

    def remember(lease: Lease) -> None:
        lost.append(lease)
        told.set()

    gone, kept = await hasty.take(), await hasty.take()
    match reason:
        case "cancelled":
            await hasty.queue.cancel("one")
        case "recovered":
            await hasty.redis.zadd(f"sightline:leases:{MODEL}:interactive", {"one": 1.0})
            assert await hasty.maintenance.recover(MODEL) == 1
        case "purged":
            await hasty.dead_letters.purge("one")
    with keeping(hasty, any_redis.url, remember) as keeper:
        keeper.add(gone)
        keeper.add(kept)
        assert await asyncio.to_thread(told.wait, 10)
        before = float(await hasty.redis.zscore(f"sightline:leases:{MODEL}:interactive", "two") or 0)
        while float(await hasty.redis.zscore(f"sightline:leases:{MODEL}:interactive", "two") or 0) == before:
            await asyncio.sleep(0.02)

    assert lost == [gone]


async def test_leases_survive_a_redis_that_is_away_for_a_moment(hasty: Bench, any_redis: RedisServer) -> None:
    await hasty.queue.submit(submission("one"))
    lease = await hasty.take()
    lost: list[Lease] = []
    with keeping(hasty, any_redis.url, lost.append) as keeper:
        keeper.add(lease)
        await hasty.redis.client_kill_filter(_type="normal", skipme=True)
        before = float(await hasty.redis.zscore(f"sightline:leases:{MODEL}:interactive", "one") or 0)
        while float(await hasty.redis.zscore(f"sightline:leases:{MODEL}:interactive", "one") or 0) == before:
            await asyncio.sleep(0.02)

    assert lost == []


def take_and_finish(
    url: str,
    settings: JobSettings,
    may_finish: "multiprocessing.synchronize.Event",
    out: "multiprocessing.SimpleQueue[tuple[str, object]]",
) -> None:
    """A worker in a process of its own: takes a job, keeps its lease, and finishes when it may."""

    async def work() -> None:
        async with connect(url) as redis:
            leases = Leases(redis, settings)
            lease = await leases.take(MODEL, worker="other process")
            assert lease is not None
            keeper = LeaseRenewer(url, settings, lost=lambda lost: out.put(("lost", lost.job.id)))
            keeper.start()
            keeper.add(lease)
            out.put(("took", lease.job.id))
            await asyncio.to_thread(may_finish.wait)
            out.put(("finished", await leases.finish(lease, outcome("late"))))
            keeper.stop()

    asyncio.run(work())


async def test_a_process_stopped_past_its_lease_learns_it_and_writes_nothing(
    hasty: Bench, any_redis: RedisServer
) -> None:
    await hasty.queue.submit(submission("one"))
    context = multiprocessing.get_context("spawn")
    may_finish, out = context.Event(), context.SimpleQueue()
    worker = context.Process(target=take_and_finish, args=(any_redis.url, hasty.settings, may_finish, out), daemon=True)
    worker.start()
    try:
        assert await asyncio.to_thread(out.get) == ("took", "one")
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        while not await hasty.maintenance.recover(MODEL):
            await asyncio.sleep(0.02)
        second = await hasty.take("second")
        os.kill(worker.pid, signal.SIGCONT)
        assert await asyncio.to_thread(out.get) == ("lost", "one")
        may_finish.set()
        assert await asyncio.to_thread(out.get) == ("finished", False)
        assert await hasty.leases.finish(second, outcome("right"))
    finally:
        worker.kill()
        worker.join()

    job = await hasty.queue.get("one")
    assert (job.state, job.results) == (JobState.SUCCEEDED, outcome("right").results)
