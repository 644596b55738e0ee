"""Whether a worker can work on jobs at all, as opposed to a job that it cannot work on."""

import asyncio
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import structlog

from sightline.api.problems import Problem
from sightline.jobs.blobs import BlobStore
from sightline.runtime.errors import is_shortage
from sightline.runtime.retries import waits_s

log = structlog.get_logger()

SPARE_FILES = 16
SPARE_BYTES = 64 * 1024 * 1024
RESOURCES = "The service is out of memory, threads or open files."


class WorkerHealth:
    """`trouble` is a sentence on why no jobs are taken, None while they are."""

    def __init__(self, store: BlobStore) -> None:
        self.trouble: str | None = None
        self._store = store

    def report(self, trouble: str) -> None:
        if self.trouble is None:
            log.warning("takes_no_jobs", detail=trouble)
        self.trouble = trouble

    async def recovered(self) -> None:
        """Returns once what jobs need can be had again."""
        waits = waits_s()
        while self.trouble is not None:
            await asyncio.sleep(next(waits))
            self.trouble = await self._check()
        log.info("takes_jobs_again")

    async def _check(self) -> str | None:
        try:
            await self._store.probe()
            _need_resources()
        except Problem as problem:
            return problem.detail
        except Exception as error:
            if not is_shortage(error):
                raise
            return RESOURCES
        return None


def _need_resources() -> None:
    """Raises what a job would meet: there must be more than the last of each."""
    with ExitStack() as files:
        for _ in range(SPARE_FILES):
            files.enter_context(Path(os.devnull).open("rb"))
        bytearray(SPARE_BYTES)
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
