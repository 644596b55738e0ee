import asyncio
import itertools

import pytest

from sightline.jobs.job import JobState, Priority, StageProgress
from sightline.jobs.leases import MustRunAloneError
from tests.jobs.conftest import MODEL, PROBLEM, WORKER, Bench, OpenBench, outcome, submission

pytestmark = pytest.mark.anyio


async def test_a_finished_job_has_its_result(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    assert (lease.job.state, lease.job.attempts) == (JobState.RUNNING, 1)

    assert await bench.leases.finish(lease, outcome())

    job = await bench.queue.get("one")
    assert (job.state, job.results, job.stages_ms) == (JobState.SUCCEEDED, outcome().results, {"infer": 12.5})
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.expires_at is not None
    assert job.created_at <= job.started_at <= job.finished_at < job.expires_at
    assert await bench.leases.take(MODEL, worker=WORKER) is None


async def test_finishing_twice_is_finishing_once(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    await bench.leases.finish(lease, outcome())
    before = await bench.queue.get("one")

    assert await bench.leases.finish(lease, outcome("late"))
    assert await bench.queue.get("one") == before


async def test_a_late_finisher_writes_nothing(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    late = await bench.take("late")
    await bench.let_leases_run_out()
    second = await bench.take("second")

    assert not await bench.leases.report_progress(late, StageProgress("encode"))
    assert not await bench.leases.finish(late, outcome("late"))
    assert not await bench.leases.fail(late, PROBLEM, transient=False)
    assert not await bench.leases.release(late)
    assert (await bench.queue.get("one")).state is JobState.RUNNING

    assert await bench.leases.finish(second, outcome("right"))
    assert not await bench.leases.finish(late, outcome("late"))
    assert (await bench.queue.get("one")).results == outcome("right").results


async def test_one_bulk_job_goes_after_a_few_interactive_ones(open_bench: OpenBench) -> None:
    bench = open_bench(bulk_share=3)
    for n in range(8):
        await bench.queue.submit(submission(f"i{n}"))
    for n in range(2):
        await bench.queue.submit(submission(f"b{n}", priority=Priority.BULK))

    taken = [(await bench.take()).job.id for _ in range(10)]

    assert taken == ["i0", "i1", "i2", "b0", "i3", "i4", "i5", "b1", "i6", "i7"]


async def test_a_transient_failure_is_tried_again_and_a_request_at_fault_is_not(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.leases.fail(await bench.take(), PROBLEM, transient=True)
    job = await bench.queue.get("one")
    assert (job.state, job.problem) == (JobState.RETRYING, PROBLEM)
    assert await bench.leases.take(MODEL, worker=WORKER) is None

    await bench.let_come(f"retrying:{MODEL}:interactive")
    await bench.maintenance.recover(MODEL)
    lease = await bench.take()
    assert (lease.job.attempts, lease.job.retry_at) == (2, None)
    await bench.leases.fail(lease, PROBLEM, transient=False)

    assert (await bench.queue.get("one")).state is JobState.FAILED
    assert (await bench.inspector.queue_stats([MODEL]))[0].totals["retries"] == 1


async def test_waits_between_attempts_are_random_below_a_bound_that_doubles_to_a_cap(open_bench: OpenBench) -> None:
    bench = open_bench(retry_base_s=100, retry_cap_s=300, max_attempts=20)
    await bench.queue.submit(submission("one"))
    waits_s = []
    for _ in range(19):
        lease = await bench.take()
        await bench.leases.fail(lease, PROBLEM, transient=True)
        job = await bench.queue.get("one")
        assert job.retry_at is not None
        assert lease.job.started_at is not None
        waits_s.append(job.retry_at - lease.job.started_at)
        await bench.let_come(f"retrying:{MODEL}:interactive")
        await bench.maintenance.recover(MODEL)

    slack_s = 10.0  # for the time between take and fail
    bounds_s = [100, 200, *[300] * 17]
    assert all(0 <= wait_s <= bound_s + slack_s for wait_s, bound_s in zip(waits_s, bounds_s, strict=True))
    assert max(waits_s[2:]) - min(waits_s[2:]) > slack_s


async def test_a_job_handed_back_goes_first_and_the_attempt_does_not_count(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.queue.submit(submission("two"))
    lease = await bench.take()
    await bench.leases.report_progress(lease, StageProgress("infer"))

    assert await bench.leases.release(lease)

    job = await bench.queue.get("one")
    assert (job.state, job.attempts, job.progress) == (JobState.QUEUED, 0, None)
    assert (await bench.queue.position_of(job)).position == 1
    assert (await bench.take()).job.id == "one"


async def test_progress_shows_until_the_end(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()

    assert await bench.leases.report_progress(lease, StageProgress("infer", 0.5))
    assert (await bench.queue.get("one")).progress == StageProgress("infer", 0.5)

    await bench.leases.finish(lease, outcome())
    assert (await bench.queue.get("one")).progress is None


async def test_wait_for_work_returns_when_a_job_arrives(bench: Bench) -> None:
    worker = bench.leases
    await worker.wait_for_work(MODEL, timeout_s=60)
    waiting = asyncio.create_task(worker.wait_for_work(MODEL, timeout_s=60))
    await bench.queue.submit(submission("one"))

    await waiting
    await worker.wait_for_work(MODEL, timeout_s=0.01)
    assert await worker.take(MODEL, worker=WORKER) is not None


async def test_work_that_came_before_the_wait_is_not_missed(bench: Bench) -> None:
    worker = bench.leases
    await worker.wait_for_work(MODEL, timeout_s=60)
    await bench.queue.submit(submission("one"))

    async with asyncio.timeout(1.5):  # below what one wait inside Redis lasts
        await worker.wait_for_work(MODEL, timeout_s=60)


async def test_a_running_job_that_is_cancelled_is_announced(bench: Bench) -> None:
    announced = asyncio.ensure_future(anext(bench.leases.cancellations(MODEL)))
    for n in itertools.count():
        await bench.queue.submit(submission(f"runs-{n}"))
        await bench.take()
        await bench.queue.submit(submission(f"waits-{n}"))
        for name in ("waits", "runs"):
            await bench.queue.cancel(f"{name}-{n}")
        if (await asyncio.wait([announced], timeout=0.05))[0]:
            break

    assert announced.result().startswith("runs-")


@pytest.mark.parametrize("end", ["finish", "fail", "release", "lose", "cancel"])
async def test_every_end_of_a_run_makes_room_for_its_owner(open_bench: OpenBench, end: str) -> None:
    bench = open_bench(max_running_per_owner=1)
    for name in ("first", "second"):
        await bench.queue.submit(submission(name, priority=Priority.BULK if name == "second" else Priority.INTERACTIVE))
    lease = await bench.take()
    assert await bench.leases.take(MODEL, worker=WORKER) is None

    match end:
        case "finish":
            await bench.leases.finish(lease, outcome())
        case "fail":
            await bench.leases.fail(lease, PROBLEM, transient=True)
        case "release":
            await bench.leases.release(lease)
        case "lose":
            await bench.let_leases_run_out()
        case "cancel":
            await bench.queue.cancel("first")

    assert (await bench.take()).job.id == ("first" if end in ("release", "lose") else "second")
    assert await bench.leases.take(MODEL, worker=WORKER) is None


async def test_a_job_whose_lease_was_lost_runs_alone(bench: Bench) -> None:
    lost, other = await bench.queue.submit(submission()), await bench.queue.submit(submission())
    await bench.take()
    assert await bench.let_leases_run_out() == 1

    with pytest.raises(MustRunAloneError):
        await bench.leases.take(MODEL, worker=WORKER, busy=True)
    # It kept its place, and nothing else begins before it.
    alone = await bench.take()
    beside = await bench.leases.take(MODEL, worker="worker-2", busy=True)

    assert (alone.job.id, alone.job.isolated) == (lost.id, True)
    assert beside is not None
    assert (beside.job.id, beside.job.isolated) == (other.id, False)
