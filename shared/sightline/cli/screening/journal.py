"""What is done already, a line for each file: written as it goes, so that a run that was killed goes on from there."""

import fcntl
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ValidationError

from sightline.api.problems import STATUS, Code
from sightline.cli.faults import Fault
from sightline.cli.screening.finding import Finding
from sightline.cli.text import printable

NAME = "journal.jsonl"
UNREADABLE_FILE, UNREADABLE_FOLDER = "unreadable_file", "unreadable_folder"
# A job that an operator cancelled or that its server has lost says nothing of the picture either.
LOST_JOB = (Code.GONE, Code.NOT_FOUND)
TRANSIENT = frozenset(
    (
        *(UNREADABLE_FILE, *LOST_JOB),
        *(code for code, status in STATUS.items() if status >= HTTPStatus.INTERNAL_SERVER_ERROR),
        *(f"http_{status.value}" for status in HTTPStatus if status >= HTTPStatus.INTERNAL_SERVER_ERROR),
    )
)


class Heading(BaseModel):
    """The first line: what all the results in it have in common."""

    model: str
    threshold: float | None = None


class Journal:
    """Reads what is there, cuts off a line that was torn, and appends; Fault while another run does."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.heading: Heading | None = None
        self.findings: dict[str, Finding] = {}
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise Fault(f"{printable(str(self._path))} cannot be written: {error.strerror}") from None
        try:
            self._lock()
            self._read()
        except Fault:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def begin(self, heading: Heading) -> None:
        """Fault where the results that are there came from other weights or another threshold."""
        if self.heading is None:
            self.heading = heading
            self._append(heading)
        elif self.heading != heading:
            was, now, folder = self.heading, heading, printable(str(self._path.parent))
            raise Fault(
                f"{folder} holds results of {was.model} at threshold {_named(was.threshold)}, this run is "
                f"of {now.model} at {_named(now.threshold)}: choose another --out, or start again with --anew"
            )

    def add(self, findings: Iterable[Finding]) -> None:
        """On disk as far as the operating system is concerned when it returns: killing this process loses none."""
        for finding in findings:
            self.findings[finding.file] = finding
            self._append(finding)
        self._file.flush()

    def knows(self, name: str, size_bytes: int, modified_ns: int) -> bool:
        """Whether there is a result of this file as it is now; what was no fault of the file is tried again."""
        done = self.findings.get(name)
        if done is None or is_transient(done):
            return False
        return (done.size_bytes, done.modified_ns) == (size_bytes, modified_ns)

    def _lock(self) -> None:
        """Until the file is closed, also by the death of this process."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Fault(f"another run is writing to {printable(str(self._path.parent))}") from None

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
            self.heading = Heading.model_validate_json(heading) if heading else None
            for line in lines:
                finding = Finding.model_validate_json(line)
                self.findings[finding.file] = finding
        except ValidationError as error:
            raise Fault(
                f"{printable(str(self._path))} is not a journal of this version; start again with --anew"
            ) from error


def is_transient(finding: Finding) -> bool:
    """Whether the file may fare better the next time."""
    return finding.error is not None and finding.error.code in TRANSIENT


def _named(threshold: float | None) -> str:
    return "of the weights" if threshold is None else str(threshold)
