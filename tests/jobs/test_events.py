import asyncio

import pytest

from sightline.jobs.events import JobEvent
from sightline.jobs.job import JobState, StageProgress
from tests.jobs.conftest import PROBLEM, Bench, outcome, submission

pytestmark = pytest.mark.anyio


async def heard(bench: Bench, job_id: str, after: str | None = None) -> list[JobEvent]:
    return [event async for event in bench.queue.events(job_id, after=after) if event]


async def test_events_of_a_job_come_in_order_with_their_data(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    await bench.leases.report_progress(lease, StageProgress("infer", 0.5))
    await bench.leases.fail(lease, PROBLEM, transient=False)

    events = await heard(bench, "one")

    assert [event.name for event in events] == ["queued", "running", "progress", "failed"]
    assert [event.data["state"] for event in events] == ["queued", "running", "running", "failed"]
    assert [event.data["attempts"] for event in events] == [0, 1, 1, 1]
    assert events[2].data["progress"] == {"stage": "infer", "share": 0.5}
    assert events[3].data["problem"] == PROBLEM


async def test_a_reader_goes_on_where_it_was_cut_off(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.leases.finish(await bench.take(), outcome())
    events = await heard(bench, "one")

    assert await heard(bench, "one", after=events[0].id) == events[1:]
    assert await heard(bench, "one", after=events[-1].id) == []
    assert await heard(bench, "one", after="9999999999999-0") == []


async def test_only_a_reader_of_the_last_event_has_heard_all(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    first = (await anext(bench.queue.events("one")) or pytest.fail("no event")).id
    assert not await bench.queue.has_ended("one", after=first)
    await bench.leases.finish(await bench.take(), outcome())
    assert not await bench.queue.has_ended("one", after=first)
    assert await bench.queue.has_ended("one", after=(await heard(bench, "one"))[-1].id)


async def test_event_streams_can_be_ended_before_their_job(bench: Bench) -> None:
    queue = bench.queue
    await queue.submit(submission("one"))
    waiting = asyncio.create_task(queue.wait("one", timeout_s=60))
    events = queue.events("one")
    assert await anext(events)
    queue.end_streams()
    assert [event async for event in events if event] == []
    assert (await waiting).state is JobState.QUEUED


async def test_events_come_as_they_happen_until_the_end(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    events = bench.queue.events("one")
    first = await anext(events)
    assert first is not None

    listening = asyncio.ensure_future(anext(events))
    lease = await bench.take()
    second = await listening
    await bench.leases.finish(lease, outcome())

    assert second is not None
    assert [first.name, second.name] == ["queued", "running"]
    assert [event.name async for event in events if event] == ["succeeded"]


async def test_event_stream_of_a_deleted_job_ends(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.dead_letters.purge("one")

    assert await heard(bench, "one") == []


async def test_a_dead_job_that_is_retried_is_followed_to_its_new_end(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    for _ in range(bench.settings.max_lost_leases):
        await bench.take()
        await bench.let_leases_run_out()
    until_death = await heard(bench, "one")
    assert until_death[-1].name == "dead"

    await bench.dead_letters.retry("one")
    await bench.queue.cancel("one")

    assert [event.name for event in await heard(bench, "one", after=until_death[-1].id)] == ["queued", "cancelled"]


async def test_many_reports_do_not_pile_up(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    for n in range(500):
        await bench.leases.report_progress(lease, StageProgress("infer", n / 500))
    await bench.leases.finish(lease, outcome())

    events = await heard(bench, "one")

    assert len(events) < 250
    assert events[-1].name == "succeeded"
