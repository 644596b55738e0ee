"""The run: files are read and hashed, new pictures are asked about in batches, all of it goes into the journal."""

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from sightline.api.problems import Code
from sightline.cli.interruption import POLL_S, StopRequest, in_background
from sightline.cli.screening.asking import Asker, Stopped
from sightline.cli.screening.finding import Answer, Finding, Reply, Trouble
from sightline.cli.screening.journal import UNREADABLE_FILE, Heading, Journal, is_transient
from sightline.cli.screening.progress import Meter
from sightline.cli.screening.walking import File

BATCH_PICTURES = 16
BATCH_BYTES = 24 << 20
MAX_FILE_BYTES = 256 << 20
STOP_GRACE_S = 5.0
"""How long batches that are under way may go on after the first Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Read:
    """A file as it was read; without `data` there is trouble."""

    name: str
    size_bytes: int
    modified_ns: int
    data: bytes = b""
    sha256: str | None = None
    trouble: Trouble | None = None

    def finding(self, answer: Answer | None = None) -> Finding:
        about = {"file": self.name, "size_bytes": self.size_bytes, "modified_ns": self.modified_ns}
        if answer is None:
            return Finding.model_validate({**about, "sha256": self.sha256, "error": self.trouble})
        said = answer.model_dump(exclude={"sha256", "problem"}, exclude_none=True)
        return Finding.model_validate({**about, "sha256": self.sha256, "error": answer.problem, **said})


@dataclass(slots=True)
class Batch:
    """Pictures of different content to ask about at once."""

    reads: list[Read] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.reads) >= BATCH_PICTURES or sum(len(read.data) for read in self.reads) >= BATCH_BYTES


_Running = dict["Future[Reply]", tuple[Batch, Asker]]


class Screening:
    """One run over the files that the journal does not know yet."""

    def __init__(
        self, journal: Journal, askers: Sequence[Asker], threshold: float | None, meter: Meter, stop: StopRequest
    ) -> None:
        self._journal, self._askers, self._threshold = journal, askers, threshold
        self._meter, self._stop = meter, stop
        self._first_of = {
            each.sha256: each
            for each in journal.findings.values()
            if each.sha256 and not each.copy_of and not is_transient(each)
        }
        self._waiting: dict[str, list[Read]] = {}
        self._done: set[str] = set()

    def run(self, files: Sequence[File]) -> None:
        """As many batches are under way as there are askers; what is finished is written down at once.

        When it returns early or raises, threads may still be waiting for a server or for a picture's decoder.
        """
        batches = self._batches(files)
        running: _Running = {}
        for asker, batch in zip(self._askers, islice(batches, len(self._askers)), strict=False):
            running[begin(asker, batch)] = batch, asker
        while running and not self._stop:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                batch, asker = running.pop(done)
                self._write_down(batch, done.result())
                if (following := next(batches, None)) is not None:
                    running[begin(asker, following)] = following, asker
        self._finish_after_stop(running)

    def is_done(self, file: File) -> bool:
        """Whether the journal holds the finding of the file as it is now."""
        return file.name in self._done or (file.name in self._journal.findings and self._is_known(file))

    def _finish_after_stop(self, running: _Running) -> None:
        """Batches that finish soon still count; a second Ctrl-C waits for none."""
        give_up_at = time.monotonic() + STOP_GRACE_S
        while running and not self._stop.urgent and time.monotonic() < give_up_at:
            for done in wait(running, POLL_S, return_when=FIRST_COMPLETED).done:
                batch, _ = running.pop(done)
                with suppress(Stopped):
                    self._write_down(batch, done.result())

    def _batches(self, files: Sequence[File]) -> Iterator[Batch]:
        """Files that need no asking, as they are broken or copies, are dealt with on the way."""
        batch = Batch()
        for file in files:
            if self._stop:
                return
            read = self._read(file)
            if read is None or not self._is_new(read):
                continue
            batch.reads.append(read)
            if batch.is_full:
                yield batch
                batch = Batch()
        if batch.reads:
            yield batch

    def _read(self, file: File) -> Read | None:
        """None where the journal knows the file as it is."""
        try:
            if self._is_known(file):
                self._done.add(file.name)
                self._meter.advance(known=True)
                return None
            read = read_file(file)
        except OSError as error:
            trouble = Trouble(code=UNREADABLE_FILE, detail=error.strerror or type(error).__name__)
            read = Read(file.name, 0, 0, trouble=trouble)
        if read.trouble:
            self._add(read.finding())
            return None
        return read

    def _is_known(self, file: File) -> bool:
        about = file.path.stat()
        return self._journal.knows(file.name, about.st_size, about.st_mtime_ns)

    def _is_new(self, read: Read) -> bool:
        """Copies of a picture share its result, also while it is still being asked for."""
        assert read.sha256 is not None
        if (first := self._first_of.get(read.sha256)) is not None:
            self._add(copy_of(first, read))
            return False
        if read.sha256 in self._waiting:
            self._waiting[read.sha256].append(Read(read.name, read.size_bytes, read.modified_ns, sha256=read.sha256))
            return False
        self._waiting[read.sha256] = []
        return True

    def _write_down(self, batch: Batch, reply: Reply) -> None:
        if reply.model:
            # The server may have been given other weights meanwhile.
            self._journal.begin(Heading(model=reply.model, threshold=self._threshold))
        for read, answer in zip(batch.reads, reply.results, strict=True):
            assert read.sha256 is not None
            finding = self._first_of[read.sha256] = read.finding(answer)
            self._add(finding, *(copy_of(finding, copy) for copy in self._waiting.pop(read.sha256)))

    def _add(self, *findings: Finding) -> None:
        self._journal.add(findings)
        for finding in findings:
            self._done.add(finding.file)
            self._meter.advance(failed=finding.error is not None)


def begin(asker: Asker, batch: Batch) -> "Future[Reply]":
    return in_background(lambda: asker.ask([read.data for read in batch.reads]))


def copy_of(first: Finding, read: Read) -> Finding:
    own = {"file": read.name, "size_bytes": read.size_bytes, "modified_ns": read.modified_ns}
    return first.model_copy(update={**own, "copy_of": first.file})


def read_file(file: File) -> Read:
    with _open(file.path) as opened:
        about = os.fstat(opened.fileno())
        if not stat.S_ISREG(about.st_mode):
            return Read(file.name, 0, about.st_mtime_ns, trouble=Trouble(code=UNREADABLE_FILE, detail="Not a file"))
        if about.st_size > MAX_FILE_BYTES:
            detail = f"The file has {about.st_size} bytes; at most {MAX_FILE_BYTES} are read."
            trouble = Trouble(code=Code.TOO_MANY_BYTES, detail=detail)
            return Read(file.name, about.st_size, about.st_mtime_ns, trouble=trouble)
        # A file that grows meanwhile is not read beyond the size that is written down.
        data = opened.read(about.st_size)
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        trouble = Trouble(code=Code.UNREADABLE_IMAGE, detail="The file is empty.")
        return Read(file.name, 0, about.st_mtime_ns, sha256=digest, trouble=trouble)
    return Read(file.name, about.st_size, about.st_mtime_ns, data, digest)


def _open(path: Path) -> IO[bytes]:
    """Does not wait for the other end of a pipe, nor follow a link that was put in place of a file meanwhile."""
    flags = os.O_RDONLY | os.O_NONBLOCK | (0 if path.is_symlink() else os.O_NOFOLLOW)
    return os.fdopen(os.open(path, flags), "rb")
