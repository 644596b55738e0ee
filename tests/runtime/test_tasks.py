import asyncio

import pytest
from structlog.testing import capture_logs

from sightline.runtime import tasks
from sightline.runtime.tasks import TaskSupervisor, cancel_and_wait, cancellable, cancelled

pytestmark = pytest.mark.anyio


class Endless:
    """Work without an end that loses so many cancellations."""

    def __init__(self, *, losses: int = 0) -> None:
        self.losses, self.begun, self.ended = losses, asyncio.Event(), list[bool]()

    async def run(self) -> None:
        try:
            await self._work()
        finally:
            self.ended.append(True)

    async def _work(self) -> None:
        while True:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert cancelled()
                self.losses -= 1
                if self.losses < 0:
                    raise


async def fail() -> None:
    raise ValueError("a text that may quote an upload")


async def settle() -> None:
    """Lets tasks and their callbacks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_supervised_task_runs_as_long_as_its_block() -> None:
    endless, supervisor = Endless(), TaskSupervisor()
    async with supervisor.running("endless", endless.run()):
        await endless.begun.wait()
        assert endless.ended == []
    assert endless.ended == [True]
    assert supervisor.failure is None


async def test_supervisor_names_a_task_that_failed_and_logs_no_text() -> None:
    supervisor = TaskSupervisor()
    with capture_logs() as entries:
        async with supervisor.running("janitor", fail()):
            await settle()
            assert supervisor.failure == "The background task 'janitor' ended unexpectedly."
    assert [(entry["event"], entry["task"], entry["error"]) for entry in entries] == [
        ("task_ended", "janitor", "builtins.ValueError")
    ]
    assert "upload" not in str(entries)


@pytest.mark.parametrize("stopping", [False, True])
async def test_task_may_return_only_while_the_process_stops(stopping: bool) -> None:
    supervisor = TaskSupervisor()
    supervisor.stopping = stopping
    with capture_logs() as entries:
        async with supervisor.running("poller", asyncio.sleep(0)):
            await settle()
    assert (supervisor.failure is None, entries == []) == (stopping, stopping)


async def test_failure_while_stopping_is_logged_and_not_reported() -> None:
    supervisor = TaskSupervisor()
    supervisor.stopping = True
    with capture_logs() as entries:
        async with supervisor.running("poller", fail()):
            await settle()
    assert supervisor.failure is None
    assert [entry["event"] for entry in entries] == ["task_ended"]


async def test_task_cancelled_from_outside_is_a_failure() -> None:
    supervisor = TaskSupervisor()
    async with supervisor.running("poller", asyncio.Event().wait()) as task:
        await settle()
        task.cancel()
        await settle()
        assert supervisor.failure is not None


async def test_cancelling_repeats_until_a_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RECANCEL_INTERVAL_S", 0.01)
    deaf, hearing = Endless(losses=3), Endless()
    running = [asyncio.create_task(each.run()) for each in (deaf, hearing)]
    await deaf.begun.wait()
    await hearing.begun.wait()
    await cancel_and_wait(*running)
    assert all(task.cancelled() for task in running)


async def test_cancelling_ignores_tasks_that_have_ended() -> None:
    failed, over = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait([failed, over])
    await cancel_and_wait(failed, over)
    await cancel_and_wait()


async def test_task_that_nobody_cancelled_is_not_cancelled() -> None:
    assert not cancelled()


async def test_cancellation_that_comes_with_the_result_is_not_lost() -> None:
    result = asyncio.get_running_loop().create_future()

    async def work() -> None:
        with cancellable():
            await asyncio.wait_for(result, timeout=60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    result.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_task_that_cleans_up_after_its_cancellation_may_go_on() -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with cancellable():
                await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
