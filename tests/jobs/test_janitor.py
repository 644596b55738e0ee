import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.blobs import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.folder import Folder
from sightline.jobs.janitor import Janitor
from sightline.jobs.job import BlobRef, Priority, State
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import MODEL, Bench, submission
from tests.redis_server import DURABLE, EMBEDDED, running_redis

pytestmark = pytest.mark.anyio

PATIENCE_S = 20.0
CONTENT = b"pixels"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(Folder(tmp_path / "blobs"))


@asynccontextmanager
async def running(bench: Bench, blobs: BlobStore) -> AsyncIterator[None]:
    task = asyncio.create_task(Janitor(bench.redis, bench.settings, blobs, interval_s=0.02).run())
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
            return (await bench.queue.get(job_id)).state is State.QUEUED
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
    janitor = Janitor(bench.redis, bench.settings, blobs)
    await bench.queue.cancel("one")
    await bench.let_come("garbage")
    await janitor.clear()
    assert await blobs.read(ref) == CONTENT
    await bench.queue.cancel("two")
    await janitor.clear()
    assert await blobs.read(ref) == CONTENT, "they may be wanted again at once"
    await bench.let_come("garbage")
    await janitor.clear()
    assert await is_gone(blobs, ref)
    assert await submit(bench, blobs, "three") == ref
    assert await blobs.read(ref) == CONTENT


async def test_expired_jobs_take_their_bytes_with_them(bench: Bench, blobs: BlobStore) -> None:
    ref = await submit(bench, blobs, "job")
    lease = await bench.take()
    await bench.leases.fail(lease, {"code": "bad_mask", "status": 400}, transient=False)
    await bench.let_come("expiring")
    await bench.let_come("garbage")
    janitor = Janitor(bench.redis, bench.settings, blobs)
    await janitor.clear()
    await bench.let_come("garbage")
    await janitor.clear()
    assert await is_gone(blobs, ref)


async def test_jobs_come_back_even_while_the_store_is_away(bench: Bench, tmp_path: Path, blobs: BlobStore) -> None:
    await submit(bench, blobs, "unneeded")
    await bench.queue.cancel("unneeded")
    await bench.let_come("garbage")
    (tmp_path / "file").write_bytes(b"")
    async with running(bench, BlobStore(Folder(tmp_path / "file"))):
        for number in range(2):
            await bench.queue.submit(submission(f"job-{number}"))
            await lose_a_lease(bench)
            await eventually(is_queued(bench, f"job-{number}"))
            await bench.queue.cancel(f"job-{number}")


async def test_a_redis_without_its_data_leaves_no_orphans(bench: Bench, blobs: BlobStore) -> None:
    forgotten = [await blobs.put(b"forgotten %d" % n) for n in range(250)]
    running = await submit(bench, blobs, "kept")
    janitor = Janitor(bench.redis, bench.settings, blobs, orphan_age_s=0)
    await janitor.clear()
    counted = int(await bench.redis.get("sightline:stored_bytes") or 0)
    for _ in range(4):
        await bench.let_come("garbage")
        await janitor.clear()

    assert counted == sum(ref.size_bytes for ref in (*forgotten, running))
    assert [await is_gone(blobs, ref) for ref in forgotten] == [True] * 250
    assert await blobs.read(running) == CONTENT
    assert int(await bench.redis.get("sightline:stored_bytes") or 0) == running.size_bytes


async def test_goes_on_when_redis_is_back(blobs: BlobStore) -> None:
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
