import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.job import BlobRef, JobState, Priority
from sightline.jobs.local_blob_store import LocalBlobStore
from sightline.jobs.maintenance import MaintenanceTask
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import MODEL, OWNER, PROBLEM, WEIGHTS, WORKER, Bench, OpenBench, outcome, submission
from tests.redis_server import DURABLE, EMBEDDED, running_redis

pytestmark = pytest.mark.anyio
PATIENCE_S = 20.0
CONTENT = b"pixels"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(LocalBlobStore(tmp_path / "blobs"))


@asynccontextmanager
async def running(bench: Bench, blobs: BlobStore) -> AsyncIterator[None]:
    task = asyncio.create_task(MaintenanceTask(bench.redis, bench.settings, blobs, interval_s=0.02).run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


async def submit(bench: Bench, blobs: BlobStore, job_id: str) -> BlobRef:
    """A job whose body is in the store."""
    ref = await blobs.put(CONTENT, reserve=lambda blob: bench.references.reserve(blob, job_id=job_id))
    await bench.queue.submit(submission(job_id, content=CONTENT.decode()))
    return ref


async def lose_a_lease(bench: Bench) -> None:
    await bench.take()
    for priority in Priority:
        await bench.let_come(f"leases:{MODEL}:{priority}")


async def is_gone(blobs: BlobStore, ref: BlobRef) -> bool:
    try:
        await blobs.read(ref)
    except Problem as problem:
        return problem.code is Code.GONE
    return False


def is_queued(bench: Bench, job_id: str) -> Callable[[], Awaitable[bool]]:
    async def queued() -> bool:
        with suppress(Problem):
            return (await bench.queue.get(job_id)).state is JobState.QUEUED
        return False

    return queued


async def test_the_jobs_of_dead_workers_come_back(bench: Bench, blobs: BlobStore) -> None:
    await submit(bench, blobs, "job")
    await lose_a_lease(bench)
    async with running(bench, blobs):
        await eventually(is_queued(bench, "job"))
    assert (await bench.take()).job.id == "job"


async def test_bytes_are_deleted_once_nobody_needs_them(bench: Bench, blobs: BlobStore) -> None:
    ref = await submit(bench, blobs, "one")
    assert await submit(bench, blobs, "two") == ref
    maintenance = MaintenanceTask(bench.redis, bench.settings, blobs)
    await bench.queue.cancel("one")
    await bench.let_come("garbage")
    await maintenance.clean_up()
    assert await blobs.read(ref) == CONTENT
    await bench.queue.cancel("two")
    await maintenance.clean_up()
    assert await blobs.read(ref) == CONTENT, "they may be wanted again at once"
    await bench.let_come("garbage")
    await maintenance.clean_up()
    assert await is_gone(blobs, ref)
    assert await submit(bench, blobs, "three") == ref
    assert await blobs.read(ref) == CONTENT


async def test_expired_jobs_take_their_bytes_with_them(bench: Bench, blobs: BlobStore) -> None:
    ref = await submit(bench, blobs, "job")
    lease = await bench.take()
    await bench.leases.fail(lease, {"code": "bad_mask", "status": 400}, transient=False)
    await bench.let_come("expiring")
    await bench.let_come("garbage")
    maintenance = MaintenanceTask(bench.redis, bench.settings, blobs)
    await maintenance.clean_up()
    await bench.let_come("garbage")
    await maintenance.clean_up()
    assert await is_gone(blobs, ref)


async def test_jobs_come_back_even_while_the_store_is_away(bench: Bench, tmp_path: Path, blobs: BlobStore) -> None:
    await submit(bench, blobs, "unneeded")
    await bench.queue.cancel("unneeded")
    await bench.let_come("garbage")
    (tmp_path / "file").write_bytes(b"")
    async with running(bench, BlobStore(LocalBlobStore(tmp_path / "file"))):
        for number in range(2):
            await bench.queue.submit(submission(f"job-{number}"))
            await lose_a_lease(bench)
            await eventually(is_queued(bench, f"job-{number}"))
            await bench.queue.cancel(f"job-{number}")


async def test_a_redis_without_its_data_leaves_no_orphans(bench: Bench, blobs: BlobStore) -> None:
    forgotten = [await blobs.put(b"forgotten %d" % n) for n in range(250)]
    running = await submit(bench, blobs, "kept")
    maintenance = MaintenanceTask(bench.redis, bench.settings, blobs, orphan_age_s=0)
    await maintenance.clean_up()
    counted = int(await bench.redis.get("sightline:stored_bytes") or 0)
    for _ in range(4):
        await bench.let_come("garbage")
        await maintenance.clean_up()

    assert counted == sum(ref.size_bytes for ref in (*forgotten, running))
    assert [await is_gone(blobs, ref) for ref in forgotten] == [True] * 250
    assert await blobs.read(running) == CONTENT
    assert int(await bench.redis.get("sightline:stored_bytes") or 0) == running.size_bytes


async def test_work_continues_when_redis_is_back(blobs: BlobStore) -> None:
    with running_redis(EMBEDDED, *DURABLE) as server:
        async with connect(server.url) as redis:
            bench = Bench(redis, JobSettings(redis_url=server.url, lease_s=0.1))
            await submit(bench, blobs, "job")
            await lose_a_lease(bench)
            server.kill()
            async with running(bench, blobs):
                with pytest.raises(Problem):
                    await bench.queue.get("job")
                server.start()
                await eventually(is_queued(bench, "job"))


async def test_a_job_of_a_silent_worker_goes_to_the_next(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.queue.submit(submission("two"))
    await bench.take()

    assert await bench.let_leases_run_out() == 1

    lease = await bench.take("other")
    assert (lease.job.id, lease.job.attempts) == ("one", 2)
    assert [line.totals["lost_leases"] for line in await bench.inspector.queue_stats([MODEL])] == [1, 0]


async def test_a_lease_that_has_not_run_out_is_left_alone(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()

    assert await bench.maintenance.recover(MODEL) == 0
    assert await bench.leases.finish(lease, outcome())


async def test_a_job_that_takes_its_workers_down_is_dead(open_bench: OpenBench) -> None:
    bench = open_bench(max_lost_leases=2)
    await bench.queue.submit(submission("poison"))
    for _ in range(2):
        await bench.take()
        await bench.let_leases_run_out()

    job = await bench.queue.get("poison")

    assert job.state is JobState.DEAD
    assert job.problem is not None
    assert (job.problem["code"], job.problem["request_id"]) == (Code.UPSTREAM_FAILED, "request-of-poison")
    assert [letter.id for letter in await bench.dead_letters.list_for(MODEL)] == ["poison"]


@pytest.mark.parametrize("place", ["leases", "retrying"])
async def test_clock_set_back_delays_no_job(bench: Bench, place: str) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    if place == "retrying":
        await bench.leases.fail(lease, PROBLEM, transient=True)
    a_day_ahead = 24 * 3600.0
    await bench.redis.zincrby(f"sightline:{place}:{MODEL}:interactive", a_day_ahead, "one")

    await bench.maintenance.recover(MODEL)

    assert (await bench.take("other")).job.id == "one"


async def test_a_result_expires_before_the_record_of_its_job(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture", idempotency_key="k"))
    await bench.leases.finish(await bench.take(), outcome())
    assert await bench.maintenance.expire() == 0

    await bench.let_come("expiring")
    assert await bench.maintenance.expire() == 1
    job = await bench.queue.get("one")
    assert (job.state, job.results) == (JobState.SUCCEEDED, ())
    assert len(await bench.references.mark_garbage(limit=10, grace_s=0)) == 2
    assert await bench.queue.reserve_key(OWNER, "k", job_id="two", ttl_s=1) is None
    again = await bench.queue.submit(submission("three", content="other"), model_sha256=WEIGHTS)
    assert again.state is JobState.QUEUED

    await bench.let_come("expiring")
    assert await bench.maintenance.expire() == 1
    with pytest.raises(Problem, match="no such job"):
        await bench.queue.get("one")
    assert [job.id for job in (await bench.queue.page(OWNER, limit=9)).jobs] == ["three"]


async def test_a_forgotten_job_leaves_nothing_in_redis(bench: Bench) -> None:
    await bench.queue.submit(submission("one", idempotency_key="k"))
    await bench.leases.finish(await bench.take(), outcome())
    for _ in range(2):
        await bench.let_come("expiring")
        await bench.maintenance.expire()
    await bench.let_come("lingering")
    await bench.maintenance.expire()
    for sha256 in await bench.references.mark_garbage(limit=10, grace_s=0):
        await bench.references.forget_blob(sha256)

    left = {str(name).removeprefix("sightline:") for name in await bench.redis.keys()}

    queue, of_model = f"queue:{MODEL}:interactive", {f"stats:{MODEL}", f"wake:{MODEL}"}
    assert left == {"models", "places", "stored_bytes", "charged_bytes", f"served:{MODEL}", queue} | of_model
    assert await bench.redis.xlen(f"sightline:{queue}") == 0
    assert await bench.redis.get("sightline:stored_bytes") == "0"
    assert await bench.redis.get("sightline:charged_bytes") == "0"


async def test_abandoned_upload_is_released(bench: Bench) -> None:
    lost, kept = submission("lost"), submission("kept")
    for wanted in (lost, kept):
        await bench.references.reserve(wanted.request.body, job_id=wanted.id)
    await bench.queue.submit(kept)

    assert await bench.maintenance.expire() == 0
    await bench.let_come("reserved")
    assert await bench.maintenance.expire() == 1

    assert await bench.references.mark_garbage(limit=10, grace_s=0) == [lost.request.body.sha256]


async def test_models_with_jobs_are_listed(bench: Bench) -> None:
    assert await bench.maintenance.models() == []

    await bench.queue.submit(submission(priority=Priority.BULK))

    assert await bench.maintenance.models() == [MODEL]
    assert await bench.leases.take("hoi", worker=WORKER) is None
