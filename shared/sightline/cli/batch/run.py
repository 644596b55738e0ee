"""A batch run: reads pictures, runs the model, writes results, and records each picture in the manifest."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from sightline.api.problems import Code
from sightline.cli.batch.manifest import BatchEntry, Manifest
from sightline.cli.batch.predictors import BatchPredictor, PictureError
from sightline.cli.batch.sources import MAX_FILE_BYTES, Destination, Source, SourceFile, read_mask
from sightline.cli.interruption import POLL_S, StopRequest, run_in_thread
from sightline.cli.progress import ProgressMeter
from sightline.cli.screening.clients import StopRequestedError
from sightline.cli.screening.journal import UNREADABLE_FILE, FileError

STOP_GRACE_S = 5.0
"""Time for which running pictures may continue after the first Ctrl-C."""
MISSING_MASK = "missing_mask"


@dataclass(frozen=True, slots=True)
class BatchWork:
    """The work on one picture; it can be sent to another process.

    suffix: of the results, which stand at the path of their picture with this suffix appended: two pictures that differ
    in their own suffix alone keep apart.
    """

    source: Source
    masks: Source | None
    destination: Destination
    suffix: str

    def process(self, file: SourceFile, predictor: BatchPredictor) -> BatchEntry:
        """Writes the result of one picture, and returns its line of the manifest.

        Raises CommandError where all other pictures would fail too.
        """
        started_at = time.perf_counter()
        entry = BatchEntry(file=file.name, version=file.version, size_bytes=file.size_bytes)
        try:
            pictures = self._read(file)
            entry = entry.model_copy(update={"sha256": hashlib.sha256(pictures["image"]).hexdigest()})
            prediction = predictor.predict(pictures)
        except PictureError as failure:
            return entry.model_copy(update={"error": failure.error})
        key = f"{file.key}{self.suffix}"
        self.destination.write(key, prediction.body)
        facts = {
            "result": f"{file.name}{self.suffix}",
            "model": prediction.model,
            "request_id": prediction.request_id,
            "seconds": round(time.perf_counter() - started_at, 3),
        }
        return entry.model_copy(update=facts)

    def _read(self, file: SourceFile) -> dict[str, bytes]:
        if file.size_bytes > MAX_FILE_BYTES:
            detail = f"The file has {file.size_bytes} bytes; at most {MAX_FILE_BYTES} are read."
            raise PictureError(FileError(code=Code.TOO_MANY_BYTES, detail=detail))
        try:
            pictures = {"image": self.source.read(file.key)}
        except OSError as error:
            raise PictureError(FileError(code=UNREADABLE_FILE, detail=error.strerror or str(error))) from error
        if self.masks is None:
            return pictures
        try:
            return pictures | {"mask": read_mask(self.masks, file)}
        except FileNotFoundError as error:
            raise PictureError(FileError(code=MISSING_MASK, detail=str(error))) from error
        except OSError as error:
            raise PictureError(FileError(code=UNREADABLE_FILE, detail=error.strerror or str(error))) from error


class BatchRun:
    """One run over the pictures that the manifest does not have; one picture per predictor at a time."""

    def __init__(
        self,
        work: BatchWork,
        manifest: Manifest,
        predictors: Sequence[BatchPredictor],
        meter: ProgressMeter,
        stop: StopRequest,
    ) -> None:
        self._work, self._manifest, self._predictors = work, manifest, predictors
        self._meter, self._stop = meter, stop

    def run(self, files: Sequence[SourceFile]) -> None:
        """Returns when all are done or a stop is requested; raises CommandError where no picture can be processed."""
        waiting = iter(files)
        running: dict[Future[BatchEntry], BatchPredictor] = {}
        for predictor, file in zip(self._predictors, islice(waiting, len(self._predictors)), strict=False):
            running[self._start(file, predictor)] = predictor
        while running and not self._stop:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                predictor = running.pop(done)
                self._record(done.result())
                if not self._stop and (following := next(waiting, None)) is not None:
                    running[self._start(following, predictor)] = predictor
        self._finish_after_stop(set(running))

    def _start(self, file: SourceFile, predictor: BatchPredictor) -> "Future[BatchEntry]":
        return run_in_thread(lambda: self._work.process(file, predictor))

    def _record(self, entry: BatchEntry) -> None:
        self._manifest.add(entry)
        self._meter.advance(failed=entry.error is not None)

    def _finish_after_stop(self, running: set["Future[BatchEntry]"]) -> None:
        """Records pictures that finish soon; a second Ctrl-C ends the wait."""
        give_up_at = time.monotonic() + STOP_GRACE_S
        while running and not self._stop.urgent and time.monotonic() < give_up_at:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                running.discard(done)
                with suppress(StopRequestedError):
                    self._record(done.result())


def unfinished(files: Iterator[SourceFile], manifest: Manifest, *, retry_failed: bool) -> list[SourceFile]:
    """Returns the files that need an attempt."""
    return [file for file in files if not manifest.has_current(file, retry_failed=retry_failed)]
