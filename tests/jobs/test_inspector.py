import pytest

from sightline.jobs.inspector import ModelLoad
from sightline.jobs.job import Priority
from tests.jobs.conftest import MODEL, PROBLEM, WORKER, Bench, outcome, submission

pytestmark = pytest.mark.anyio


async def test_every_queue_has_its_statistics(bench: Bench) -> None:
    for n in range(4):
        await bench.queue.submit(submission(f"i{n}"))
    await bench.queue.submit(submission("bulk", priority=Priority.BULK))
    await bench.leases.finish(await bench.take(), outcome())
    await bench.leases.fail(await bench.take(), PROBLEM, transient=True)
    await bench.take()

    interactive, bulk, *others = await bench.inspector.queue_stats([MODEL, "hoi"])

    assert (interactive.model, interactive.priority) == (MODEL, Priority.INTERACTIVE)
    assert (interactive.waiting, interactive.running, interactive.retrying, interactive.dead) == (1, 1, 1, 0)
    assert (bulk.waiting, bulk.running, bulk.retrying) == (1, 0, 0)
    assert interactive.oldest_age_s > 0
    assert {name: n for name, n in interactive.totals.items() if n} == {
        "submitted": 4,
        "attempts": 3,
        "succeeded": 1,
        "retries": 1,
    }
    assert [(line.model, line.waiting, line.oldest_age_s) for line in others] == [("hoi", 0, 0.0)] * 2


async def test_statistics_without_models_are_empty(bench: Bench) -> None:
    assert await bench.inspector.queue_stats([]) == []


async def test_the_load_counts_slots_of_workers_that_were_heard_of(bench: Bench) -> None:
    assert await bench.inspector.model_load(MODEL) == ModelLoad(waiting=0, slots=0)

    await bench.queue.submit(submission())
    await bench.leases.heartbeat(MODEL, worker=WORKER, slots=1)
    await bench.leases.heartbeat(MODEL, worker="other", slots=2)
    await bench.leases.heartbeat(MODEL, worker="other", slots=3)
    await bench.redis.hset(f"sightline:stats:{MODEL}", "run_s", "2")
    assert await bench.inspector.model_load(MODEL) == ModelLoad(waiting=1, slots=4, run_s=2.0, eta_s=2.0)

    await bench.redis.hset(f"sightline:workers:{MODEL}", "other", "1.0 3")
    assert (await bench.inspector.model_load(MODEL)).slots == 1
    await bench.leases.heartbeat(MODEL, worker=WORKER, slots=1)
    assert await bench.redis.hkeys(f"sightline:workers:{MODEL}") == [WORKER]


async def test_the_measured_run_follows_what_runs_take_of_late(bench: Bench) -> None:
    for name in ("one", "two"):
        await bench.queue.submit(submission(name))
    await bench.leases.finish(await bench.take(), outcome())
    first = (await bench.inspector.model_load(MODEL)).run_s
    assert first is not None

    lease = await bench.take()
    await bench.redis.hincrbyfloat("sightline:job:two", "began_at", -100.0)
    await bench.leases.finish(lease, outcome())

    second = (await bench.inspector.model_load(MODEL)).run_s
    assert second is not None
    assert 0 < first < 100 * 0.2 <= second < 100
