import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sightline.api.problems import Problem
from sightline.jobs.connection import connect
from sightline.jobs.job import JobState
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import MODEL, WORKER, Bench, submission
from tests.redis_server import RedisServer

pytestmark = pytest.mark.anyio


class LossyRelay:
    """Passes commands on to Redis; of those that come while `losing` is above 0, the replies get lost."""

    def __init__(self, server: RedisServer) -> None:
        self.losing = 0
        self._target = server.url.removeprefix("unix://")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(self._target)
        commands = asyncio.create_task(_copy(reader, redis_writer))
        while reply := await redis_reader.read(65536):
            if self.losing:
                self.losing -= 1
                break
            writer.write(reply)
        commands.cancel()
        writer.close()
        redis_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A command may come in pieces.
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()


@asynccontextmanager
async def lossy(server: RedisServer) -> AsyncIterator[tuple[LossyRelay, Bench]]:
    relay = LossyRelay(server)
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        path = Path(folder) / "s"
        async with await asyncio.start_unix_server(relay.serve, path), connect(f"unix://{path}") as redis:
            yield relay, Bench(redis, JobSettings(redis_url=server.url))


async def test_a_submission_whose_reply_is_lost_is_repeated_and_is_one_job(
    bench: Bench, any_redis: RedisServer
) -> None:
    await bench.queue.submit(submission("earlier"))
    async with lossy(any_redis) as (relay, far):
        queue = far.queue
        await queue.submit(submission("earlier"))
        relay.losing = 1
        job = await queue.submit(submission("one"))

    assert (job.id, job.state) == ("one", JobState.QUEUED)
    assert relay.losing == 0
    assert (await bench.inspector.model_load(MODEL)).waiting == 2


async def test_a_take_whose_reply_is_lost_takes_one_job_only(bench: Bench, any_redis: RedisServer) -> None:
    for name in ("one", "two"):
        await bench.queue.submit(submission(name))
    async with lossy(any_redis) as (relay, far):
        leases = far.leases
        assert await leases.take("hoi", worker=WORKER) is None  # so that Redis knows the script, and this its clock
        relay.losing = 1
        with pytest.raises(Problem, match="cannot be reached"):
            await leases.take(MODEL, worker=WORKER)

    assert [line.running for line in await bench.inspector.queue_stats([MODEL])] == [1, 0]
    assert await bench.let_leases_run_out() == 1
    assert (await bench.take()).job.id == "one"


async def test_reply_lost_twice_is_reported(bench: Bench, any_redis: RedisServer) -> None:
    async with lossy(any_redis) as (relay, far):
        relay.losing = 2
        with pytest.raises(Problem, match="cannot be reached"):
            await far.queue.submit(submission("one"))
