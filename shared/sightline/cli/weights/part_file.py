"""The part of a file that was downloaded so far, on disk."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sightline.cli.output import CommandError, printable

RESERVE_BYTES = 16 << 20
"""Left free on a disk: a full disk stops more than this command."""
FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


@dataclass(slots=True)
class PartFile:
    """A growing file, and beside it the validator of the version that it is a part of (an ETag or a date).

    Raises CommandError with the missing space if the disk is full.
    """

    path: Path
    validator: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError, ValueError, KeyError, TypeError):
            self.validator = json.loads(self._about.read_text("utf-8"))["validator"]

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def start_over(self, validator: str | None = None) -> None:
        """Empties the file; what follows is of the version with this validator."""
        self.path.unlink(missing_ok=True)
        self.validator = validator
        self._about.write_text(json.dumps({"validator": validator}), "utf-8")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def require_space(self, missing_bytes: int) -> None:
        """Raises CommandError if the disk has no room for so many further bytes."""
        free = shutil.disk_usage(self.path.parent).free
        if missing_bytes + RESERVE_BYTES > free:
            raise self._full(f"{megabytes(missing_bytes)} are missing, {megabytes(free)} are free")

    @contextmanager
    def appending(self) -> "Iterator[PartWriter]":
        """Opens the file to append to it; everything written is on disk at the end of the block."""
        try:
            with self.path.open("ab", buffering=0) as file:
                yield PartWriter(file.fileno())
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno in FULL:
                raise self._full(f"{megabytes(self.size)} are written") from None
            raise CommandError(f"{printable(str(self.path))} cannot be written: {error.strerror}") from None

    def copy_from(self, source: Path) -> None:
        """Copies a local file."""
        self.start_over()
        try:
            with source.open("rb") as file, self.appending() as part:
                while block := file.read(1 << 20):
                    part.write(block)
        except OSError as error:
            raise CommandError(f"{printable(str(source))} cannot be read: {error.strerror}") from None

    @property
    def _about(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def _full(self, detail: str) -> CommandError:
        return CommandError(
            f"The disk of {printable(str(self.path.parent))} is full ({detail}); free some space, or choose another "
            "disk with --state, and run the command again. It continues where it stopped."
        )


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Writes to an open part file."""

    descriptor: int

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.descriptor, left) :]


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
