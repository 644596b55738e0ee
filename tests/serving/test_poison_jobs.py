"""Jobs that take the process down with them, beside jobs that do not."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sightline.inference.weights import Weights
from sightline.jobs.job import JobState
from sightline.runtime.tasks import TaskSupervisor
from tests.serving.worker.test_consumer import MakePng, opened
from tests.serving.worker_process import KILLER

LEASE_S = 1.0
KILLERS = 2

pytestmark = pytest.mark.anyio


async def work_again_and_again(folder: Path, redis_url: str, blobs_url: str) -> None:
    """Starts the worker anew each time that it dies, as a supervisor does."""
    environment = {
        **os.environ,
        "SIGHTLINE_REDIS_URL": redis_url,
        "SIGHTLINE_BLOBS_URL": blobs_url,
        "SIGHTLINE_LEASE_S": str(LEASE_S),
        "SIGHTLINE_MAX_LOST_LEASES": "2",
    }
    command = (sys.executable, "-m", "tests.serving.worker_process", str(folder))
    while True:
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            await process.wait()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
                await process.wait()


@asynccontextmanager
async def working(folder: Path, redis_url: str, blobs_url: str) -> AsyncIterator[None]:
    async with TaskSupervisor().running("workers", work_again_and_again(folder, redis_url, blobs_url)):
        yield


async def test_job_that_kills_its_worker_ends_alone(
    redis_url: str,
    tmp_path: Path,
    make_png: MakePng,
    tiny_weights: Weights,
) -> None:
    blobs = tmp_path / "blobs"
    async with opened(redis_url, blobs, pytest.fail) as site:
        well = [await site.submit(make_png(20))]
        poison = [await site.submit(make_png(KILLER, width=8 + n)) for n in range(KILLERS)]
        well += [await site.submit(make_png(30 + n)) for n in range(3)]
        async with working(tmp_path, redis_url, blobs.as_uri()):
            ended = [await site.queue.wait(job_id, timeout_s=60) for job_id in (*poison, *well)]
    assert [job.state for job in ended] == [JobState.DEAD] * KILLERS + [JobState.SUCCEEDED] * len(well)
    # Beside a killer once, and never again: after the first loss each runs alone.
    assert max(job.attempts for job in ended[KILLERS:]) <= 2
