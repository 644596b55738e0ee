"""The files of a folder, in an order that does not change."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif"))


@dataclass(frozen=True, slots=True)
class File:
    """`name` is what is written down: relative, and printable whatever bytes the file system holds."""

    path: Path
    name: str


def walk(folder: Path, *, leaving_out: Path, every_file: bool) -> Iterator[File]:
    """Pictures by their suffix, or every file; links to folders are not followed, and `leaving_out` is not entered."""
    for parent, folders, names in os.walk(folder, followlinks=False):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if (here / name).resolve() != leaving_out.resolve())
        for name in sorted(names):
            if every_file or Path(name).suffix.lower() in SUFFIXES:
                yield File(here / name, printable((here / name).relative_to(folder)))


def printable(path: Path) -> str:
    """Bytes that are no UTF-8 are shown as escapes, as no report could hold them."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
