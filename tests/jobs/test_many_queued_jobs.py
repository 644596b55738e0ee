"""Ten thousand jobs in one queue: every one is taken once, in order, and the queue stays small and quick to ask."""

import pytest

from sightline.jobs.connection import connect
from sightline.jobs.job import Priority, submission_hash
from sightline.jobs.scripts import script_arguments, script_source
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import MODEL, OWNER, WORKER, Bench, outcome, submission

pytestmark = pytest.mark.anyio

JOBS = 10_000
AT_ONCE = 500
BYTES_PER_JOB = 8 * 1024


async def submit_all(bench: Bench, jobs: int) -> None:
    """Many at a time in one pipeline; each is a run of its own of the script."""
    script = bench.redis.register_script(script_source("submit"))
    for first in range(0, jobs, AT_ONCE):
        async with bench.redis.pipeline(transaction=False) as pipeline:
            for n in range(first, min(first + AT_ONCE, jobs)):
                record = submission_hash(submission(f"j{n}", priority=Priority.BULK))
                keys, args = script_arguments(bench.settings, {"record": record})
                await script(keys=keys, args=args, client=pipeline)
            await pipeline.execute()


async def test_ten_thousand_jobs_wait_in_order(redis_url: str) -> None:
    async with connect(redis_url) as redis:
        await ten_thousand_wait_in_order(Bench(redis, JobSettings(redis_url=redis_url)))


async def ten_thousand_wait_in_order(bench: Bench) -> None:
    empty_bytes = int((await bench.redis.info("memory"))["used_memory"])

    await submit_all(bench, JOBS)

    line = (await bench.inspector.queue_stats([MODEL]))[1]
    assert line.waiting == JOBS
    assert int((await bench.redis.info("memory"))["used_memory"]) - empty_bytes < JOBS * BYTES_PER_JOB
    last = (await bench.queue.page(OWNER, limit=1)).jobs[0]
    assert (await bench.queue.position_of(last)).position == JOBS
    assert [(await bench.take()).job.id for _ in range(100)] == [f"j{n}" for n in range(100)]


async def test_many_jobs_at_their_owners_limit_do_not_delay_others(bench: Bench) -> None:
    await bench.queue.set_owner_limit(OWNER, max_running=1)
    await submit_all(bench, 1200)
    await bench.queue.submit(submission("eves", owner="eve", priority=Priority.BULK))
    crowd = await bench.take()

    takes = [await bench.leases.take(MODEL, worker=WORKER) for _ in range(5)]

    assert [lease.job.id for lease in takes if lease] == ["eves"]
    await bench.leases.finish(crowd, outcome())
    assert (await bench.take()).job.owner == OWNER
