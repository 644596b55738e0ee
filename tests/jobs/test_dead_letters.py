import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import JobState, Priority, Webhook
from tests.jobs.conftest import MODEL, OWNER, PROBLEM, Bench, OpenBench, outcome, submission

pytestmark = pytest.mark.anyio


async def kill(bench: Bench, name: str, **more: object) -> None:
    await bench.queue.submit(submission(name, **more))  # type: ignore[arg-type]
    await bench.leases.fail(await bench.take(), PROBLEM, transient=True)


@pytest.fixture
def fragile(open_bench: OpenBench) -> Bench:
    return open_bench(max_attempts=1)


async def test_jobs_out_of_attempts_are_listed_with_what_went_wrong(fragile: Bench) -> None:
    await kill(fragile, "one")
    await kill(fragile, "two", priority=Priority.BULK)

    letters = await fragile.dead_letters.list_for(MODEL)

    assert [(job.id, job.state, job.problem) for job in letters] == [
        ("one", JobState.DEAD, PROBLEM),
        ("two", JobState.DEAD, PROBLEM),
    ]
    assert [line.dead for line in await fragile.inspector.queue_stats([MODEL])] == [1, 1]


async def test_a_dead_job_can_be_retried_with_all_its_attempts(fragile: Bench) -> None:
    await kill(fragile, "one")

    job = await fragile.dead_letters.retry("one")

    assert (job.state, job.attempts, job.problem, job.finished_at) == (JobState.QUEUED, 0, None, None)
    assert await fragile.dead_letters.retry("one") == job
    assert await fragile.dead_letters.list_for(MODEL) == []
    assert await fragile.leases.finish(await fragile.take(), outcome())
    assert (await fragile.queue.get("one")).state is JobState.SUCCEEDED


async def test_a_failed_job_can_be_retried_as_long_as_its_request_is_kept(fragile: Bench) -> None:
    for name in ("one", "old"):
        await fragile.queue.submit(submission(name))
        await fragile.leases.fail(await fragile.take(), PROBLEM, transient=False)
    await fragile.queue.cancel("old")

    job = await fragile.dead_letters.retry("one")

    assert (job.state, job.attempts, job.problem) == (JobState.QUEUED, 0, None)
    assert await fragile.leases.finish(await fragile.take(), outcome())
    assert (await fragile.queue.get("one")).state is JobState.SUCCEEDED
    with pytest.raises(Problem) as raised:
        await fragile.dead_letters.retry("old")
    assert raised.value.code is Code.GONE


async def test_a_job_that_is_not_dead_or_has_no_request_is_not_retried(fragile: Bench) -> None:
    await kill(fragile, "emptied")
    await fragile.queue.cancel("emptied")
    await fragile.queue.submit(submission("done"))
    await fragile.leases.finish(await fragile.take(), outcome())

    for name, code in (("emptied", Code.GONE), ("done", Code.INVALID_REQUEST), ("none", Code.NOT_FOUND)):
        with pytest.raises(Problem) as raised:
            await fragile.dead_letters.retry(name)
        assert raised.value.code is code


async def test_a_purged_job_is_forgotten(fragile: Bench) -> None:
    await kill(fragile, "dead")
    await fragile.queue.submit(submission("live"))
    lease = await fragile.take()

    for name in ("dead", "live"):
        await fragile.dead_letters.purge(name)

    assert not await fragile.leases.finish(lease, outcome())
    assert (await fragile.queue.page(OWNER, limit=9)).jobs == ()
    assert len(await fragile.references.mark_garbage(limit=10, grace_s=0)) == 2
    with pytest.raises(Problem, match="no such job"):
        await fragile.dead_letters.purge("dead")


async def test_every_end_is_reported_to_those_who_asked(fragile: Bench) -> None:
    webhook = Webhook("https://example.org/hook", "whsec_c2VjcmV0")
    await fragile.queue.submit(submission("quiet"))
    await fragile.queue.cancel("quiet")
    await kill(fragile, "dead", webhook=webhook)
    await fragile.queue.submit(submission("cancelled", webhook=webhook))
    await fragile.queue.cancel("cancelled")

    assert set(await fragile.redis.zrange("sightline:webhooks:due", 0, -1)) == {"dead", "cancelled"}
