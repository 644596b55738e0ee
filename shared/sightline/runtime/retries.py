"""Waiting out that the queue or the store of blobs is away."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import SystemRandom
from typing import TypeVar

import structlog

from sightline.api.problems import Code, Problem
from sightline.runtime.errors import describe_error
from sightline.runtime.tasks import cancelled

log = structlog.get_logger()

T = TypeVar("T")

AWAY = frozenset((Code.QUEUE_UNAVAILABLE, Code.STORAGE_UNAVAILABLE))
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0


def waits_s() -> Iterator[float]:
    """Longer and longer, and never in step with others that wait for the same thing."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s * SystemRandom().uniform(0.5, 1.0)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def patiently(step: Callable[[], Awaitable[T]], *, on_wait: Callable[[Problem], None] | None = None) -> T:
    """The step's result, once what it needs is there; whoever awaits this says for how long.

    `on_wait` is told each time why there is none yet.
    """
    waits, well = waits_s(), True
    while True:
        try:
            return await step()
        except Problem as problem:
            if problem.code not in AWAY:
                raise
            if well:
                log.warning("job_waits", code=problem.code)
            well = False
            if on_wait is not None:
                on_wait(problem)
        if cancelled():
            raise asyncio.CancelledError
        await asyncio.sleep(next(waits))


async def forever(step: Callable[[], Awaitable[object]]) -> None:
    """The step again and again, whatever becomes of it; a run of failures is logged once."""
    waits, well = waits_s(), True
    while not cancelled():
        try:
            await step()
            waits, well = waits_s(), True
        except Exception as error:
            if well:
                facts = {"code": error.code} if isinstance(error, Problem) else describe_error(error)
                log.warning("step_failed", step=getattr(step, "__qualname__", ""), **facts)
            well = False
            await asyncio.sleep(next(waits))
