"""A batch that hangs, in a real process that the fleet's supervisor keeps running."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from sightline.cli.fleet import LOOPBACK, free_port
from sightline.cli.supervisor import Program, ProgramExit, RestartPolicy, supervised
from sightline.inference.weights import Weights
from sightline.jobs.job import JobState
from tests.serving.hanging_service import HANGS_ALWAYS, HANGS_ONCE
from tests.serving.worker.test_consumer import MakePng, Site, opened, until

pytestmark = pytest.mark.anyio

EXIT_CODE = 70
PATIENCE = RestartPolicy(first_wait_s=0.05, longest_wait_s=0.1, grace_s=5)


@asynccontextmanager
async def kept_running(
    folder: Path, site: Site, notify: Callable[[ProgramExit], None], *, max_lost_leases: int = 3
) -> AsyncIterator[str]:
    """The address of the service; it is started again whenever it ends."""
    port = free_port()
    environment = {
        "HANGING_FOLDER": str(folder),
        "SIGHTLINE_HOST": LOOPBACK,
        "SIGHTLINE_PORT": str(port),
        "SIGHTLINE_PROVIDERS": "cpu",
        "SIGHTLINE_STALL_S": "1.5",
        "SIGHTLINE_REDIS_URL": site.settings.redis_url or "",
        "SIGHTLINE_BLOBS_URL": site.settings.blobs_url or "",
        "SIGHTLINE_LEASE_S": "1",
        "SIGHTLINE_MAX_LOST_LEASES": str(max_lost_leases),
    }
    command = (sys.executable, "-m", "sightline.serving", "tests.serving.hanging_service:create")
    program = Program("tiny_invert", command, environment, folder / "service.log")
    async with supervised(program, policy=PATIENCE, notify=notify):
        yield f"http://{LOOPBACK}:{port}"


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


async def test_service_with_a_hanging_batch_restarts_and_its_jobs_end_once(
    redis_url: str, tmp_path: Path, make_png: MakePng, tiny_weights: Weights
) -> None:
    endings: list[ProgramExit] = []
    async with opened(redis_url, tmp_path / "blobs", pytest.fail) as site:
        async with kept_running(tiny_weights.path.parent, site, endings.append) as url:
            await until(lambda: is_ready(url))
            jobs = [await site.submit(make_png(value)) for value in (20, HANGS_ONCE, 30)]
            ended = [await site.ended(job_id) for job_id in jobs]
            await until(lambda: is_ready(url))
        told = [[event.name async for event in site.queue.events(job.id) if event] for job in ended]
    assert [job.state for job in ended] == [JobState.SUCCEEDED] * 3
    assert [ending.code for ending in endings] == [EXIT_CODE]
    assert 2 <= max(job.attempts for job in ended) <= 3
    assert [names.count("succeeded") for names in told] == [1, 1, 1]
    log = (tiny_weights.path.parent / "service.log").read_text()
    assert "batch_stalled" in log
    assert "hanging_service.py" in log


async def test_job_that_hangs_the_service_each_time_ends_dead(
    redis_url: str, tmp_path: Path, make_png: MakePng, tiny_weights: Weights
) -> None:
    endings: list[ProgramExit] = []
    async with (
        opened(redis_url, tmp_path / "blobs", pytest.fail) as site,
        kept_running(tiny_weights.path.parent, site, endings.append, max_lost_leases=2),
    ):
        hanging, well = await site.submit(make_png(HANGS_ALWAYS)), await site.submit(make_png(20))
        assert (await site.ended(hanging)).state is JobState.DEAD
        assert (await site.ended(well)).state is JobState.SUCCEEDED
    assert {ending.code for ending in endings} == {EXIT_CODE}
