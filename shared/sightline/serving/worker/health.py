"""The health of a worker: the store, memory, threads and files that every job needs."""

import asyncio
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import structlog

from sightline.api.problems import Problem
from sightline.jobs.blob_store import BlobStore
from sightline.runtime.errors import is_shortage
from sightline.runtime.retries import MIN_WAIT_S, retry

log = structlog.get_logger()

SPARE_FILES = 16
SPARE_BYTES = 64 * 1024 * 1024
RESOURCES = "The service is out of memory, threads or open files."


class WorkerHealth:
    """The health of one worker; `trouble` is a sentence on why it takes no jobs, None while it takes some."""

    def __init__(self, store: BlobStore) -> None:
        self.trouble: str | None = None
        self._store = store

    def report(self, trouble: str) -> None:
        if self.trouble is None:
            log.warning("takes_no_jobs", detail=trouble)
        self.trouble = trouble

    async def recovered(self) -> None:
        """Returns once the store, memory, threads and files that jobs need are available again."""
        await asyncio.sleep(MIN_WAIT_S)
        await retry(self._probe, on=lambda error: _trouble_of(error) is not None, event=None, on_wait=self._update)
        self.trouble = None
        log.info("takes_jobs_again")

    def _update(self, error: Exception) -> None:
        self.trouble = _trouble_of(error)

    async def _probe(self) -> None:
        await self._store.probe()
        _require_resources()


def _trouble_of(error: Exception) -> str | None:
    """Returns the sentence for an outage or a shortage; None for any other exception."""
    if isinstance(error, Problem):
        return error.detail
    return RESOURCES if is_shortage(error) else None


def _require_resources() -> None:
    """Raises what a job would meet: there must be more than the last file, thread and memory."""
    with ExitStack() as files:
        for _ in range(SPARE_FILES):
            files.enter_context(Path(os.devnull).open("rb"))
        bytearray(SPARE_BYTES)
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
