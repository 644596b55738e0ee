import asyncio
import itertools
import time
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from sightline.api.problems import Code, Problem
from sightline.runtime.retries import JITTER_S, MIN_WAIT_S, repeat, retry, retry_outages

pytestmark = pytest.mark.anyio


class Flaky:
    """A step that fails with each of the errors in turn, then succeeds; keeps the times of its calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.called_at = list(errors), list[float]()

    async def __call__(self) -> str:
        self.called_at.append(time.monotonic())
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    @property
    def waits_s(self) -> list[float]:
        return [after - before for before, after in itertools.pairwise(self.called_at)]


def outage(code: Code = Code.QUEUE_UNAVAILABLE) -> Problem:
    return Problem(code, "Away.")


async def test_outage_is_waited_out_and_logged_once() -> None:
    waited_for: list[Exception] = []
    errors = [outage(Code.STORAGE_UNAVAILABLE), outage()]
    with capture_logs() as entries:
        assert await retry_outages(Flaky(*errors), on_wait=waited_for.append) == "done"
    assert [(entry["event"], entry["code"]) for entry in entries] == [("job_waits", Code.STORAGE_UNAVAILABLE)]
    assert waited_for == errors


async def test_other_problem_passes_at_once() -> None:
    step = Flaky(Problem(Code.GONE, "Gone."), outage())
    with pytest.raises(Problem) as caught:
        await retry_outages(step)
    assert (caught.value.code, len(step.errors)) == (Code.GONE, 1)


async def test_waits_double_within_their_bounds() -> None:
    step = Flaky(*(outage() for _ in range(3)))
    await retry_outages(step)
    for doublings, wait_s in enumerate(step.waits_s):
        shortest_s = MIN_WAIT_S * 2**doublings
        assert shortest_s <= wait_s <= shortest_s + JITTER_S + 0.2


async def test_waits_do_not_exceed_their_limit() -> None:
    step = Flaky(*(outage() for _ in range(4)))
    await retry(step, on=lambda _: True, max_wait_s=0.05)
    assert all(wait_s <= 0.25 for wait_s in step.waits_s)


async def test_last_attempt_raises() -> None:
    step = Flaky(*(outage() for _ in range(3)))
    with pytest.raises(Problem):
        await retry(step, on=lambda _: True, max_wait_s=0.01, attempts=2)
    assert len(step.called_at) == 2


async def test_cancellation_ends_the_wait_for_the_next_attempt() -> None:
    step = Flaky(*(outage() for _ in range(100)))
    task = asyncio.create_task(retry_outages(step))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(step.called_at) == 1


async def test_cancellation_that_a_step_swallowed_ends_the_retries() -> None:
    begun, calls = asyncio.Event(), 0

    async def swallow() -> None:
        nonlocal calls
        calls += 1
        with suppress(asyncio.CancelledError):
            begun.set()
            await asyncio.Event().wait()
        raise outage()

    task = asyncio.create_task(retry_outages(swallow))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == 1


async def test_repeated_step_survives_any_failure_and_logs_each_outage() -> None:
    enough, calls = asyncio.Event(), 0

    async def step() -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 3):
            raise ValueError("a text that may quote an upload")
        if calls == 4:
            enough.set()
        await asyncio.sleep(0)

    with capture_logs() as entries:
        task = asyncio.create_task(repeat(step, interval_s=0.01))
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(entry["event"], entry["error"]) for entry in entries] == [("step_failed", "builtins.ValueError")] * 2
    assert "upload" not in str(entries)
