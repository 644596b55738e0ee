"""A Redis that is away, killed, full, or that answers no more."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs import connection
from sightline.jobs.connection import connect
from sightline.jobs.job import JobState, StageProgress
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import LEASE_S, MODEL, OWNER, PROBLEM, WORKER, Bench, blob, outcome, submission
from tests.redis_server import DURABLE, EXECUTABLES, RedisServer, running_redis

pytestmark = pytest.mark.anyio


@pytest.fixture(params=EXECUTABLES, ids=["embedded", "system"][: len(EXECUTABLES)])
def durable_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with running_redis(request.param, *DURABLE) as server:
        yield server


@pytest.fixture
async def bench(durable_redis: RedisServer) -> AsyncIterator[Bench]:
    settings = JobSettings(redis_url=durable_redis.url)
    async with connect(durable_redis.url) as redis:
        yield Bench(redis, settings)


async def test_a_killed_redis_forgets_nothing_that_it_confirmed(bench: Bench, durable_redis: RedisServer) -> None:
    for name in ("queued", "running", "retrying", "succeeded", "returned"):
        await bench.queue.submit(submission(name, idempotency_key=name))
    leases = {}
    for _ in range(5):
        lease = await bench.take()
        leases[lease.job.id] = lease
    await bench.leases.finish(leases["succeeded"], outcome())
    await bench.leases.fail(leases["retrying"], PROBLEM, transient=True)
    await bench.leases.release(leases["returned"])
    await bench.leases.release(leases["queued"])
    await bench.leases.report_progress(leases["running"], StageProgress("infer"))
    before = (await bench.queue.page(OWNER, limit=9)).jobs

    durable_redis.kill()
    durable_redis.start()

    assert (await bench.queue.page(OWNER, limit=9)).jobs == before
    assert await bench.leases.finish(leases["running"], outcome("late"))
    assert not await bench.leases.report_progress(leases["succeeded"], StageProgress("infer"))
    assert [(await bench.take()).job.id for _ in range(2)] == ["queued", "returned"]
    assert await bench.queue.submit(submission("queued")) == await bench.queue.get("queued")


async def test_restart_keeps_leases_that_could_not_be_renewed(bench: Bench, durable_redis: RedisServer) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    await bench.maintenance.recover(MODEL)
    # As if it had been away for longer than a lease.
    await bench.redis.hincrbyfloat("sightline:clock", "wall", -10 * LEASE_S)
    durable_redis.kill()
    durable_redis.start()

    assert await bench.maintenance.recover(MODEL) == 0
    assert await bench.leases.finish(lease, outcome())


async def test_every_operation_reports_an_unavailable_queue(bench: Bench, durable_redis: RedisServer) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    durable_redis.kill()

    attempts = [
        bench.queue.submit(submission("two")),
        bench.queue.get("one"),
        bench.queue.wait("one", timeout_s=10),
        bench.leases.take(MODEL, worker=WORKER),
        bench.leases.finish(lease, outcome()),
        bench.leases.wait_for_work(MODEL, timeout_s=10),
        bench.maintenance.models(),
        bench.maintenance.recover(MODEL),
        bench.inspector.queue_stats([MODEL]),
    ]
    for attempt in attempts:
        with pytest.raises(Problem) as raised:
            await attempt
        assert raised.value.code is Code.QUEUE_UNAVAILABLE
        assert raised.value.retry_after_s is not None

    durable_redis.start()
    assert await bench.leases.finish(lease, outcome())


def scripts_and_connections(server: RedisServer) -> tuple[int, int]:
    """How many there have been, without the connection that asks."""
    with server.client() as client:
        scripts = int(client.info("commandstats")["cmdstat_evalsha"]["calls"])
        return scripts, int(client.info("stats")["total_connections_received"]) - 1


async def test_a_redis_that_hangs_counts_as_away(
    bench: Bench, durable_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.OPTIONS, "socket_timeout", 0.2)
    async with connect(durable_redis.url) as redis:
        hurried = Bench(redis, bench.settings)
        await hurried.queue.submit(submission("one"))
        scripts, connections = scripts_and_connections(durable_redis)
        durable_redis.pause()
        for _ in range(2):
            with pytest.raises(Problem, match="cannot be reached"):
                await hurried.queue.submit(submission("two"))
        durable_redis.resume()
        # Each but once, as somebody waits: the first on the old connection, the second on one that Redis never greeted.
        assert scripts_and_connections(durable_redis) <= (scripts + 1, connections + 2)

        # Whether it took effect was unknown, so it is repeated, and is one job all the same.
        await hurried.queue.submit(submission("two"))
        assert [job.id for job in (await hurried.queue.page(OWNER, limit=9)).jobs] == ["two", "one"]


async def test_connection_lost_during_a_script_is_reopened(bench: Bench, durable_redis: RedisServer) -> None:
    await bench.queue.submit(submission("one"))
    durable_redis.pause()
    submitting = asyncio.create_task(bench.queue.submit(submission("two")))
    await asyncio.sleep(0)
    durable_redis.kill()
    with pytest.raises(Problem, match="cannot be reached"):
        await submitting

    durable_redis.start()
    assert (await bench.queue.submit(submission("two"))).state is JobState.QUEUED


async def test_a_full_redis_takes_no_new_job_and_brings_the_others_to_their_end(bench: Bench) -> None:
    names = ["finish", "fail", "retry", "bury", "release", "cancel", "wait"]
    for name in names:
        await bench.queue.submit(submission(name))
    leases = {name: await bench.take() for name in names[:-1]}
    await bench.redis.config_set("maxmemory", "1")

    for refused in (
        bench.queue.submit(submission("more")),
        bench.queue.reserve_key(OWNER, "k", job_id="more", ttl_s=60),
        bench.references.reserve(submission("more").request.body, job_id="more"),
        bench.leases.report_progress(leases["finish"], StageProgress("infer")),
    ):
        with pytest.raises(Problem) as raised:
            await refused
        assert raised.value.code is Code.QUEUE_UNAVAILABLE

    assert await bench.leases.finish(leases["finish"], outcome())
    assert await bench.leases.fail(leases["fail"], PROBLEM, transient=False)
    assert await bench.leases.fail(leases["retry"], PROBLEM, transient=True)
    assert await bench.leases.release(leases["release"])
    await bench.queue.cancel("cancel")
    assert [(await bench.take()).job.id for _ in range(2)] == ["release", "wait"]
    garbage = await bench.references.mark_garbage(limit=10, grace_s=0)
    assert len(garbage) == 2  # what failed can be tried again, and keeps its upload
    for sha256 in garbage:
        await bench.references.forget_blob(sha256)
    await bench.dead_letters.purge("finish")

    await bench.redis.config_set("maxmemory", "0")
    with pytest.raises(Problem, match="no such job"):
        await bench.queue.get("more")
    states = {job.id: job.state for job in (await bench.queue.page(OWNER, limit=9)).jobs}
    assert states == {
        "fail": JobState.FAILED,
        "retry": JobState.RETRYING,
        "bury": JobState.RUNNING,
        "release": JobState.RUNNING,
        "cancel": JobState.CANCELLED,
        "wait": JobState.RUNNING,
    }


async def test_stalled_redis_changes_nothing_for_callers_that_left(bench: Bench, durable_redis: RedisServer) -> None:
    """They were answered 503, and may have sent the same again elsewhere."""
    await bench.queue.submit(submission("first"))
    queue, leases, references = bench.queue, bench.leases, bench.references
    assert await queue.reserve_key(OWNER, "warm", job_id="warm", ttl_s=60) is None
    await leases.take("hoi", worker=WORKER)
    await references.reserve(blob("warm"), job_id="warm")
    # Connections for all of them, so that what they send lies in front of Redis while it stands still.
    await asyncio.gather(*(bench.redis.xread({"nothing": "0"}, block=100) for _ in range(4)))
    durable_redis.pause()
    attempts = (
        queue.reserve_key(OWNER, "k", job_id="left", ttl_s=60),
        queue.submit(submission("left")),
        references.reserve(blob("left"), job_id="left"),
        leases.take(MODEL, worker=WORKER),
    )
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    durable_redis.resume()

    assert [isinstance(outcome, Problem) and outcome.code for outcome in outcomes] == [Code.QUEUE_UNAVAILABLE] * 4
    assert await queue.reserve_key(OWNER, "k", job_id="again", ttl_s=60) is None
    with pytest.raises(Problem, match="no such job"):
        await queue.get("left")
    assert not await bench.redis.hexists("sightline:sizes", blob("left").sha256)
    assert (await queue.get("first")).state is JobState.QUEUED
