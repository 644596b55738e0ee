import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Priority, State
from tests.jobs.conftest import MODEL, OWNER, PROBLEM, WEIGHTS, WORKER, Bench, OpenBench, outcome, submission

pytestmark = pytest.mark.anyio


async def test_a_job_of_a_silent_worker_goes_to_the_next(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.queue.submit(submission("two"))
    await bench.take()

    assert await bench.let_leases_run_out() == 1

    lease = await bench.take("other")
    assert (lease.job.id, lease.job.attempts) == ("one", 2)
    assert [line.totals["lost_leases"] for line in await bench.overview.lines([MODEL])] == [1, 0]


async def test_a_lease_that_has_not_run_out_is_left_alone(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()

    assert await bench.upkeep.recover(MODEL) == 0
    assert await bench.leases.finish(lease, outcome())


async def test_a_job_that_takes_its_workers_down_is_dead(open_bench: OpenBench) -> None:
    bench = open_bench(max_lost_leases=2)
    await bench.queue.submit(submission("poison"))
    for _ in range(2):
        await bench.take()
        await bench.let_leases_run_out()

    job = await bench.queue.get("poison")

    assert job.state is State.DEAD
    assert job.problem is not None
    assert (job.problem["code"], job.problem["request_id"]) == (Code.UPSTREAM_FAILED, "request-of-poison")
    assert [letter.id for letter in await bench.dead_letters.of(MODEL)] == ["poison"]


@pytest.mark.parametrize("place", ["leases", "retrying"])
async def test_a_clock_that_was_set_back_strands_nobody(bench: Bench, place: str) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    if place == "retrying":
        await bench.leases.fail(lease, PROBLEM, transient=True)
    a_day_ahead = 24 * 3600.0
    await bench.redis.zincrby(f"sightline:{place}:{MODEL}:interactive", a_day_ahead, "one")

    await bench.upkeep.recover(MODEL)

    assert (await bench.take("other")).job.id == "one"


async def test_a_result_expires_before_the_record_of_its_job(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture", idempotency_key="k"))
    await bench.leases.finish(await bench.take(), outcome())
    assert await bench.upkeep.expire() == 0

    await bench.let_come("expiring")
    assert await bench.upkeep.expire() == 1
    job = await bench.queue.get("one")
    assert (job.state, job.results) == (State.SUCCEEDED, ())
    assert len(await bench.references.collect(limit=10, grace_s=0)) == 2
    assert await bench.queue.hold_key(OWNER, "k", job_id="two", ttl_s=1) is None
    again = await bench.queue.submit(submission("three", content="other"), model_sha256=WEIGHTS)
    assert again.state is State.QUEUED

    await bench.let_come("expiring")
    assert await bench.upkeep.expire() == 1
    with pytest.raises(Problem, match="no such job"):
        await bench.queue.get("one")
    assert [job.id for job in (await bench.queue.page(OWNER, limit=9)).jobs] == ["three"]


async def test_a_forgotten_job_leaves_nothing_in_redis(bench: Bench) -> None:
    await bench.queue.submit(submission("one", idempotency_key="k"))
    await bench.leases.finish(await bench.take(), outcome())
    for _ in range(2):
        await bench.let_come("expiring")
        await bench.upkeep.expire()
    await bench.let_come("lingering")
    await bench.upkeep.expire()
    for sha256 in await bench.references.collect(limit=10, grace_s=0):
        await bench.references.collected(sha256)

    left = {str(name).removeprefix("sightline:") for name in await bench.redis.keys()}

    queue, of_model = f"queue:{MODEL}:interactive", {f"stats:{MODEL}", f"wake:{MODEL}"}
    assert left == {"models", "places", "stored_bytes", "charged_bytes", f"served:{MODEL}", queue} | of_model
    assert await bench.redis.xlen(f"sightline:{queue}") == 0
    assert await bench.redis.get("sightline:stored_bytes") == "0"
    assert await bench.redis.get("sightline:charged_bytes") == "0"


async def test_an_upload_that_came_to_nothing_is_let_go(bench: Bench) -> None:
    lost, kept = submission("lost"), submission("kept")
    for wanted in (lost, kept):
        await bench.references.reserve(wanted.request.body, job_id=wanted.id)
    await bench.queue.submit(kept)

    assert await bench.upkeep.expire() == 0
    await bench.let_come("reserved")
    assert await bench.upkeep.expire() == 1

    assert await bench.references.collect(limit=10, grace_s=0) == [lost.request.body.sha256]


async def test_models_with_jobs_are_known(bench: Bench) -> None:
    assert await bench.upkeep.models() == []

    await bench.queue.submit(submission(priority=Priority.BULK))

    assert await bench.upkeep.models() == [MODEL]
    assert await bench.leases.take("hoi", worker=WORKER) is None
