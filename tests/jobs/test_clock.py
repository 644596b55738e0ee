"""Jobs, holds and webhooks while the clock of a real Redis jumps by hours, in both directions.

Only on the embedded Redis: libfaketime does not get along with the memory allocator of Debian's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from sightline.api.problems import Problem
from sightline.jobs.connection import connect
from sightline.jobs.job import Job, JobState
from sightline.jobs.leases import LeaseRenewer
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import DeliveryQueue
from sightline.runtime.tasks import TaskSupervisor
from tests.jobs.conftest import MODEL, PROBLEM, WORKER, Bench, outcome, submission
from tests.redis_server import FAKETIME, RedisServer, running_redis

LEASE_S = 3.0  # a jump moves the clock of leases by up to a second, and a busy machine delays a renewal
HOURS_S = 12 * 3600.0
RECEIVER = "https://example.org"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime to set the clock of a single process"),
    pytest.mark.parametrize("jump_s", [-HOURS_S, HOURS_S], ids=["back", "ahead"]),
]


@dataclass(frozen=True, slots=True)
class Site:
    server: RedisServer
    bench: Bench

    async def recover_again_and_again(self) -> None:
        while True:
            await self.bench.maintenance.recover(MODEL)
            await asyncio.sleep(0.1)

    async def until(self, job: Job, state: JobState) -> Job:
        async with asyncio.timeout(20):
            while (found := await self.bench.queue.get(job.id)).state is not state:
                await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def opened(**settings: float) -> AsyncIterator[Site]:
    """A queue that somebody looks after, on a Redis whose clock can be set."""
    with running_redis(settable_clock=True) as server:
        async with connect(server.url) as redis:
            values = {"lease_s": LEASE_S, "retry_base_s": 0.5, **settings}
            site = Site(server, Bench(redis, JobSettings(redis_url=server.url, **values)))  # type: ignore[arg-type]
            async with TaskSupervisor().running("recovery", site.recover_again_and_again()):
                await asyncio.sleep(0.2)
                yield site


async def test_a_worker_that_lives_keeps_its_job(jump_s: float) -> None:
    lost: list[object] = []
    async with opened() as site:
        keeper = LeaseRenewer(site.server.url, site.bench.settings, lost=lost.append)
        keeper.start()
        job = await site.bench.queue.submit(submission())
        lease = await site.bench.take()
        keeper.add(lease)
        site.server.set_clock(jump_s)
        await asyncio.sleep(1.5 * LEASE_S)
        site.server.set_clock(0)
        await asyncio.sleep(1.5 * LEASE_S)
        running = await site.bench.queue.get(job.id)
        await asyncio.to_thread(keeper.stop)  # first, as a lease on a job that has finished is lost
        assert await site.bench.leases.finish(lease, outcome())
    assert lost == []
    assert (running.state, running.attempts) == (JobState.RUNNING, 1)


async def test_the_job_of_a_dead_worker_comes_back(jump_s: float) -> None:
    async with opened() as site:
        job = await site.bench.queue.submit(submission())
        await site.bench.take()
        site.server.set_clock(jump_s)
        await site.until(job, JobState.QUEUED)


async def test_a_job_that_failed_is_tried_again(jump_s: float) -> None:
    async with opened() as site:
        job = await site.bench.queue.submit(submission())
        lease = await site.bench.take()
        await site.bench.leases.fail(lease, PROBLEM, transient=True)
        site.server.set_clock(jump_s)
        await site.until(job, JobState.QUEUED)


async def test_estimates_are_times_that_may_come(jump_s: float) -> None:
    async with opened(lease_s=30.0, retry_base_s=120.0) as site:
        await site.bench.leases.heartbeat(MODEL, worker=WORKER, slots=1)
        for _ in range(2):
            await site.bench.queue.submit(submission())
        first = await site.bench.take()
        site.server.set_clock(jump_s)
        await asyncio.sleep(1.5)
        await site.bench.leases.finish(first, outcome())
        jobs = [await site.bench.queue.submit(submission()) for _ in range(3)]
        retrying = await site.bench.take()
        await site.bench.leases.fail(retrying, PROBLEM, transient=True)
        running = await site.bench.take()
        site.server.set_clock(0)
        await asyncio.sleep(1.5)
        seen = [await site.bench.queue.position_of(job) for job in (retrying.job, running.job, *jobs[1:])]
        oldest_s = [line.oldest_age_s for line in await site.bench.inspector.queue_stats([MODEL])]
    # A jump counts as a few seconds of a run at most.
    assert all(standing.eta_s is not None and 0 <= standing.eta_s < 200 for standing in seen)
    assert all(0 <= age_s < 60 for age_s in oldest_s)


async def test_webhooks_keep_to_their_schedule(jump_s: float) -> None:
    async with opened() as site:
        delivery_queue = DeliveryQueue(site.bench.redis, site.bench.settings)
        for job_id, retry_in_s in {"soon": 2.0, "late": 1800.0}.items():
            await site.bench.redis.zadd("sightline:webhooks:due", {job_id: 1.0})
            await delivery_queue.route(job_id, f"{RECEIVER}/{job_id}")
            (lease,) = await delivery_queue.take(f"{RECEIVER}/{job_id}", limit=1, lease_s=30)
            await delivery_queue.settle(lease, None, retry_in_s=retry_in_s, ttl_s=60)
        site.server.set_clock(jump_s)
        async with asyncio.timeout(20):
            while not (due := await delivery_queue.due_receivers(limit=10)):
                await asyncio.sleep(0.1)
        overdue_s = (await delivery_queue.backlog()).overdue_s
    assert due == [f"{RECEIVER}/soon"]
    assert overdue_s < 60


async def test_a_key_is_held_no_longer_than_it_should_be(jump_s: float) -> None:
    async with opened() as site:
        await site.bench.queue.reserve_key("ada", "k", job_id="left", ttl_s=2)
        with pytest.raises(Problem):
            await site.bench.queue.reserve_key("ada", "k", job_id="next", ttl_s=2)
        site.server.set_clock(jump_s)
        async with asyncio.timeout(20):
            while True:
                try:
                    await site.bench.queue.reserve_key("ada", "k", job_id="next", ttl_s=2)
                except Problem:
                    await asyncio.sleep(0.1)
                else:
                    break


async def test_results_outlive_a_jump(jump_s: float) -> None:
    async with opened(result_ttl_s=3600.0) as site:
        job = await site.bench.queue.submit(submission())
        await site.bench.leases.finish(await site.bench.take(), outcome())
        site.server.set_clock(jump_s)
        await asyncio.sleep(1.5)
        assert await site.bench.maintenance.expire() == 0
        assert (await site.bench.queue.get(job.id)).results
