"""Lanes: thread pools that run the steps of plans, with places that are shared fairly between callers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from sightline.api.problems import Problem
from sightline.imaging.decoder.pool import needs_process
from sightline.imaging.header import require_header
from sightline.imaging.limits import require_pixels_within
from sightline.inference.fair_queue import FairSemaphore, Requester
from sightline.runtime.resources import start_threads
from sightline.serving.settings import ServiceSettings


class Lane:
    """A thread pool, and a semaphore of `places` plans that may use it; by default one plan per thread."""

    def __init__(self, threads: int, name: str, *, places: int | None = None) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, name)
        self.places = FairSemaphore(places or threads)


class Lanes:
    """The lanes of one service: for short steps, for steps that wait for a decoder process, and for jobs."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._max_request_pixels = settings.max_request_pixels
        # Decoded pictures are many times their files: hold only as many as keep codecs and session busy.
        open_plans = 2 * settings.codec_workers + 2 * settings.max_batch
        self._codecs = Lane(settings.codec_workers, "codec", places=open_plans)
        self._waiting = Lane(2 * settings.codec_workers + 2, "decoder-wait")
        self._jobs = Lane(max(1, settings.job_slots), "job")
        self._all = (self._codecs, self._waiting, self._jobs)
        self._open_plans = FairSemaphore(open_plans)

    def start(self) -> None:
        """Starts all threads at once, because a start under load may fail at the system's limit of threads."""
        for lane in self._all:
            start_threads(lane.pool, lane.threads)

    def shut_down(self) -> None:
        for lane in self._all:
            lane.pool.shutdown(cancel_futures=True)

    async def run(self, step: Callable[[], None]) -> None:
        """Runs a step that belongs to no request on a codec thread."""
        await asyncio.get_running_loop().run_in_executor(self._codecs.pool, step)

    @asynccontextmanager
    async def place(
        self, requester: Requester, pictures: Sequence[bytes], *, is_job: bool
    ) -> AsyncIterator[ThreadPoolExecutor]:
        """Waits for a place, and yields the pool of its lane.

        Raises Problem TOO_MANY_PIXELS where the pictures have too many together.
        """
        lane = await self._choose(pictures, is_job=is_job)
        async with lane.places.place(requester), self._open_plans.place(requester):
            yield lane.pool

    async def _choose(self, pictures: Sequence[bytes], *, is_job: bool) -> Lane:
        """Returns the lane. Jobs and waits for a decoder process have their own, so that they block no codec thread."""
        lane = self._jobs if is_job else self._codecs
        if not pictures:
            return lane
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(lane.pool, require_within_budget, pictures, self._max_request_pixels)
        if is_job or not await loop.run_in_executor(lane.pool, _needs_decoder_process, pictures):
            return lane
        return self._waiting


def require_within_budget(pictures: Sequence[bytes], max_request_pixels: int) -> None:
    """Raises Problem TOO_MANY_PIXELS; pictures whose header cannot be read are refused where they are decoded."""
    require_pixels_within(map(_pixels, pictures), max_request_pixels)


def _needs_decoder_process(pictures: Sequence[bytes]) -> bool:
    """Returns True if decoding waits for a child process, which blocks a thread without using a core."""
    return any(map(needs_process, pictures))


def _pixels(data: bytes) -> int:
    try:
        return require_header(data).pixels
    except Problem:
        return 0
