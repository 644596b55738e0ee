"""The journal of a screening run, one line for each file, from which a run that was killed continues."""

import fcntl
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.api.problems import STATUS, Code
from sightline.api.screening import Category
from sightline.cli.output import CommandError, printable

NAME = "journal.jsonl"
UNREADABLE_FILE, UNREADABLE_FOLDER = "unreadable_file", "unreadable_folder"
# A job that an operator cancelled, or that its server lost, says nothing about the picture.
LOST_JOB = (Code.GONE, Code.NOT_FOUND)
TRANSIENT = frozenset(
    (
        *(UNREADABLE_FILE, *LOST_JOB),
        *(code for code, status in STATUS.items() if status >= HTTPStatus.INTERNAL_SERVER_ERROR),
        *(f"http_{status.value}" for status in HTTPStatus if status >= HTTPStatus.INTERNAL_SERVER_ERROR),
    )
)


class FileError(BaseModel):
    """Reason why a file has no result."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class PictureResult(BaseModel):
    """The part of a service's result for one picture that is recorded."""

    model_config = ConfigDict(frozen=True)

    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    decision: str | None = None
    most_likely: Category | None = None
    violation_probability: float | None = None
    needs_review: bool | None = None
    threshold: float | None = None
    threshold_version: str | None = None
    probabilities: dict[Category, float] | None = None
    perceptual_hash: str | None = None
    notes: list[str] = []


class PictureReply(PictureResult):
    """One picture of a reply: its result or its problem."""

    problem: FileError | None = None


class FileResult(PictureResult):
    """One file: its result or its error. `file` is relative to the screened folder, with `/` between its parts."""

    file: str
    size_bytes: int
    modified_ns: int
    copy_of: str | None = None
    near_duplicates: int | None = None
    error: FileError | None = None


class BatchReply(BaseModel):
    """The record of a batch; `model` is the name, version and digest of the weights."""

    results: list[PictureReply]
    model: str


class JournalHeader(BaseModel):
    """First line of the journal: the settings that all its results have in common."""

    model: str
    threshold: float | None = None


class Journal:
    """The journal file: reads earlier results, drops an incomplete last line, appends new ones.

    Raises CommandError while another run writes to the same file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.heading: JournalHeader | None = None
        self.results: dict[str, FileResult] = {}
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{printable(str(self._path))} cannot be written: {error.strerror}") from None
        try:
            self._lock()
            self._read()
        except CommandError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def begin(self, heading: JournalHeader) -> None:
        """Raises CommandError if the earlier results came from other weights or another threshold."""
        if self.heading is None:
            self.heading = heading
            self._append(heading)
        elif self.heading != heading:
            was, now, folder = self.heading, heading, printable(str(self._path.parent))
            raise CommandError(
                f"{folder} holds results of {was.model} at threshold {_named(was.threshold)}, this run is "
                f"of {now.model} at {_named(now.threshold)}: choose another --out, or start again with --anew"
            )

    def add(self, results: Iterable[FileResult]) -> None:
        """Hands the results to the operating system before it returns, so that killing this process loses none."""
        for result in results:
            self.results[result.file] = result
            self._append(result)
        self._file.flush()

    def has_current(self, name: str, size_bytes: int, modified_ns: int) -> bool:
        """Returns whether the file has a result and has not changed since; transient errors do not count as results."""
        done = self.results.get(name)
        if done is None or is_transient(done):
            return False
        return (done.size_bytes, done.modified_ns) == (size_bytes, modified_ns)

    def _lock(self) -> None:
        """Holds a lock until the file is closed or this process ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"another run is writing to {printable(str(self._path.parent))}") from None

    def _append(self, line: BaseModel) -> None:
        self._file.write(line.model_dump_json(exclude_none=True) + "\n")

    def _read(self) -> None:
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        heading, *lines = whole.splitlines() or [b""]
        try:
            self.heading = JournalHeader.model_validate_json(heading) if heading else None
            for line in lines:
                result = FileResult.model_validate_json(line)
                self.results[result.file] = result
        except ValidationError as error:
            raise CommandError(
                f"{printable(str(self._path))} is not a journal of this version; start again with --anew"
            ) from error


def is_transient(result: FileResult) -> bool:
    """Returns whether a later attempt may succeed."""
    return result.error is not None and result.error.code in TRANSIENT


def _named(threshold: float | None) -> str:
    return "of the weights" if threshold is None else str(threshold)
