"""The retry policy of everything that waits out an outage, built on stamina."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import TypeVar

import stamina
import structlog

from sightline.api.problems import Code, Problem
from sightline.runtime.errors import describe_error
from sightline.runtime.tasks import cancelled

log = structlog.get_logger()

T = TypeVar("T")
Step = Callable[[], Awaitable[T]]

OUTAGES = frozenset((Code.QUEUE_UNAVAILABLE, Code.STORAGE_UNAVAILABLE))
# Waits double from the first to the longest; the random part keeps processes from retrying in step.
MIN_WAIT_S, MAX_WAIT_S, JITTER_S = 0.2, 5.0, 0.5

# stamina's own hooks log every attempt with the text of its exception, which may quote an upload.
stamina.instrumentation.set_on_retry_hooks(())


async def retry(
    step: Step[T],
    *,
    on: Callable[[Exception], bool],
    event: str | None = "step_failed",
    on_wait: Callable[[Exception], None] | None = None,
    max_wait_s: float = MAX_WAIT_S,
    attempts: int | None = None,
) -> T:
    """Calls the step until it succeeds, and returns its result; other exceptions than those that `on` accepts pass.

    Logs `event`, if there is one, once for each outage and not for each attempt. `on_wait` is called before every wait.
    Without `attempts`, the caller limits the time. A cancellation that the step swallowed is raised instead of the next
    attempt.
    """
    handler = _FailureHandler(on, event, getattr(step, "__qualname__", ""), on_wait)
    async for attempt in stamina.retry_context(
        on=handler, attempts=attempts, timeout=None, wait_initial=MIN_WAIT_S, wait_max=max_wait_s, wait_jitter=JITTER_S
    ):
        with attempt:
            return await step()
    raise AssertionError("the last attempt returns or raises")


async def retry_outages(step: Step[T], *, on_wait: Callable[[Exception], None] | None = None) -> T:
    """`retry` while the queue or the blob store cannot be reached (QUEUE_UNAVAILABLE, STORAGE_UNAVAILABLE)."""
    return await retry(step, on=is_outage, event="job_waits", on_wait=on_wait)


async def repeat(
    step: Step[object], *, interval_s: float = 0.0, event: str = "step_failed", max_wait_s: float = MAX_WAIT_S
) -> None:
    """Calls the step again and again until cancelled, whatever it raises.

    Waits between half of `interval_s` and all of it after a success, and as `retry` does after a failure.
    """
    while not cancelled():
        await retry(step, on=lambda _: True, event=event, max_wait_s=max_wait_s)
        if interval_s:
            await asyncio.sleep(SystemRandom().uniform(interval_s / 2, interval_s))


def is_outage(error: Exception) -> bool:
    return isinstance(error, Problem) and error.code in OUTAGES


@dataclass(slots=True)
class _FailureHandler:
    """Decides for stamina whether to try again; logs the first failure."""

    on: Callable[[Exception], bool]
    event: str | None
    step: str
    on_wait: Callable[[Exception], None] | None
    logged: bool = False

    def __call__(self, error: BaseException) -> bool:
        if not isinstance(error, Exception) or not self.on(error):
            return False
        if cancelled():
            raise asyncio.CancelledError from error
        self._log(error)
        if self.on_wait is not None:
            self.on_wait(error)
        return True

    def _log(self, error: Exception) -> None:
        if self.logged or self.event is None:
            return
        self.logged = True
        facts = {"code": error.code} if isinstance(error, Problem) else describe_error(error)
        log.warning(self.event, step=self.step, **facts)
