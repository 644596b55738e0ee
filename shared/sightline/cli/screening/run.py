"""A screening run: reads and hashes files, screens new pictures in batches, and records the results in the journal."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from sightline.api.problems import Code
from sightline.cli.interruption import POLL_S, StopRequest, run_in_thread
from sightline.cli.progress import ProgressMeter
from sightline.cli.screening.clients import ScreeningClient, StopRequestedError
from sightline.cli.screening.files import ScreenedFile
from sightline.cli.screening.journal import (
    UNREADABLE_FILE,
    BatchReply,
    FileError,
    FileResult,
    Journal,
    JournalHeader,
    PictureReply,
    is_transient,
)

BATCH_PICTURES = 16
BATCH_BYTES = 24 << 20
MAX_FILE_BYTES = 256 << 20
STOP_GRACE_S = 5.0
"""Time for which running batches may continue after the first Ctrl-C."""


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A file that was read; if it has no `data`, `file_error` has the reason."""

    name: str
    size_bytes: int
    modified_ns: int
    data: bytes = b""
    sha256: str | None = None
    file_error: FileError | None = None

    def result(self, answer: PictureReply | None = None) -> FileResult:
        about = {"file": self.name, "size_bytes": self.size_bytes, "modified_ns": self.modified_ns}
        if answer is None:
            return FileResult.model_validate({**about, "sha256": self.sha256, "error": self.file_error})
        said = answer.model_dump(exclude={"sha256", "problem"}, exclude_none=True)
        return FileResult.model_validate({**about, "sha256": self.sha256, "error": answer.problem, **said})


@dataclass(slots=True)
class PictureBatch:
    """Pictures of different content that are screened in one request."""

    files: list[LoadedFile] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.files) >= BATCH_PICTURES or sum(len(loaded.data) for loaded in self.files) >= BATCH_BYTES


_Running = dict["Future[BatchReply]", tuple[PictureBatch, ScreeningClient]]


class ScreeningRun:
    """One run over the files that have no result in the journal."""

    def __init__(
        self,
        journal: Journal,
        clients: Sequence[ScreeningClient],
        threshold: float | None,
        meter: ProgressMeter,
        stop: StopRequest,
    ) -> None:
        self._journal, self._clients, self._threshold = journal, clients, threshold
        self._meter, self._stop = meter, stop
        self._first_of = {
            each.sha256: each
            for each in journal.results.values()
            if each.sha256 and not each.copy_of and not is_transient(each)
        }
        self._waiting: dict[str, list[LoadedFile]] = {}
        self._done: set[str] = set()

    def run(self, files: Sequence[ScreenedFile]) -> None:
        """Screens one batch per client at a time, and records each as soon as it is finished.

        When this returns early or raises, threads may still wait for a server or for a picture's decoder.
        """
        batches = self._batches(files)
        running: _Running = {}
        for client, batch in zip(self._clients, islice(batches, len(self._clients)), strict=False):
            running[start_batch(client, batch)] = batch, client
        while running and not self._stop:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                batch, client = running.pop(done)
                self._write_down(batch, done.result())
                if (following := next(batches, None)) is not None:
                    running[start_batch(client, following)] = following, client
        self._finish_after_stop(running)

    def is_done(self, file: ScreenedFile) -> bool:
        """Returns whether the journal holds the result of the file in its current state."""
        return file.name in self._done or (file.name in self._journal.results and self._is_known(file))

    def _finish_after_stop(self, running: _Running) -> None:
        """Records batches that finish soon; a second Ctrl-C ends the wait."""
        give_up_at = time.monotonic() + STOP_GRACE_S
        while running and not self._stop.urgent and time.monotonic() < give_up_at:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                batch, _ = running.pop(done)
                with suppress(StopRequestedError):
                    self._write_down(batch, done.result())

    def _batches(self, files: Sequence[ScreenedFile]) -> Iterator[PictureBatch]:
        """Yields batches of new pictures; records unreadable files and copies on the way."""
        batch = PictureBatch()
        for file in files:
            if self._stop:
                return
            loaded = self._read(file)
            if loaded is None or not self._is_new(loaded):
                continue
            batch.files.append(loaded)
            if batch.is_full:
                yield batch
                batch = PictureBatch()
        if batch.files:
            yield batch

    def _read(self, file: ScreenedFile) -> LoadedFile | None:
        """None where the journal has_current the file as it is."""
        try:
            if self._is_known(file):
                self._done.add(file.name)
                self._meter.advance(known=True)
                return None
            loaded = read_file(file)
        except OSError as error:
            file_error = FileError(code=UNREADABLE_FILE, detail=error.strerror or type(error).__name__)
            loaded = LoadedFile(file.name, 0, 0, file_error=file_error)
        if loaded.file_error:
            self._add(loaded.result())
            return None
        return loaded

    def _is_known(self, file: ScreenedFile) -> bool:
        about = file.stat()
        return self._journal.has_current(file.name, about.size_bytes, about.modified_ns)

    def _is_new(self, loaded: LoadedFile) -> bool:
        """Returns False for copies of a picture; they get its result, if need be once it arrives."""
        assert loaded.sha256 is not None
        if (first := self._first_of.get(loaded.sha256)) is not None:
            self._add(copy_result(first, loaded))
            return False
        if loaded.sha256 in self._waiting:
            self._waiting[loaded.sha256].append(
                LoadedFile(loaded.name, loaded.size_bytes, loaded.modified_ns, sha256=loaded.sha256)
            )
            return False
        self._waiting[loaded.sha256] = []
        return True

    def _write_down(self, batch: PictureBatch, reply: BatchReply) -> None:
        if reply.model:
            # The weights of the server may have been replaced since the run began.
            self._journal.begin(JournalHeader(model=reply.model, threshold=self._threshold))
        for loaded, answer in zip(batch.files, reply.results, strict=True):
            assert loaded.sha256 is not None
            result = self._first_of[loaded.sha256] = loaded.result(answer)
            self._add(result, *(copy_result(result, copy) for copy in self._waiting.pop(loaded.sha256)))

    def _add(self, *results: FileResult) -> None:
        self._journal.add(results)
        for result in results:
            self._done.add(result.file)
            self._meter.advance(failed=result.error is not None)


def start_batch(client: ScreeningClient, batch: PictureBatch) -> "Future[BatchReply]":
    return run_in_thread(lambda: client.screen([loaded.data for loaded in batch.files]))


def copy_result(first: FileResult, loaded: LoadedFile) -> FileResult:
    own = {"file": loaded.name, "size_bytes": loaded.size_bytes, "modified_ns": loaded.modified_ns}
    return first.model_copy(update={**own, "copy_of": first.file})


def read_file(file: ScreenedFile) -> LoadedFile:
    """Reads and hashes a file. Raises OSError."""
    about, data = file.read(MAX_FILE_BYTES)
    if data is None:
        detail = f"The file has {about.size_bytes} bytes; at most {MAX_FILE_BYTES} are loaded."
        file_error = FileError(code=Code.TOO_MANY_BYTES, detail=detail)
        return LoadedFile(file.name, about.size_bytes, about.modified_ns, file_error=file_error)
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        file_error = FileError(code=Code.UNREADABLE_IMAGE, detail="The file is empty.")
        return LoadedFile(file.name, 0, about.modified_ns, sha256=digest, file_error=file_error)
    return LoadedFile(file.name, about.size_bytes, about.modified_ns, data, digest)
