"""Lists the files of a folder in a stable order, and what was left out."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import quote

from sightline.cli.output import printable, printable_path

SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp", ".mpo"),
        *(".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".btf", ".tf8"),
        *(".heic", ".heics", ".heif", ".heifs", ".hif", ".avif", ".avifs", ".avci", ".avcs"),
    )
)


@dataclass(frozen=True, slots=True)
class FileState:
    """Size and time of the last change of a file; when either differs, the file is screened again."""

    size_bytes: int
    modified_ns: int


class ScreenedFile(Protocol):
    """A file of a folder or of an object store."""

    @property
    def name(self) -> str: ...
    def stat(self) -> FileState: ...
    def read(self, max_bytes: int) -> tuple[FileState, bytes | None]: ...
    def read_bytes(self) -> bytes: ...
    def link(self, report: Path) -> str | None: ...


Identity = tuple[int, int]  # of the device and the inode
NO_SUFFIX = "without a suffix"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file to screen; `name` is relative to the folder, printable and unique."""

    path: Path
    name: str

    def stat(self) -> FileState:
        """Returns the present size and time. Raises OSError for a file that is gone."""
        about = self.path.stat()
        return FileState(about.st_size, about.st_mtime_ns)

    def read(self, max_bytes: int) -> tuple[FileState, bytes | None]:
        """Returns the state and the bytes; None for more than `max_bytes`. Raises OSError for what is no file."""
        with self._open() as opened:
            about = os.fstat(opened.fileno())
            state = FileState(about.st_size, about.st_mtime_ns)
            if not stat.S_ISREG(about.st_mode):
                raise OSError(errno.EINVAL, "Not a file")
            # If the file is growing, no more is read than the size that is recorded.
            return state, opened.read(about.st_size) if about.st_size <= max_bytes else None

    def read_bytes(self) -> bytes:
        return self.path.read_bytes()

    def link(self, report: Path) -> str | None:
        """Returns a relative link from the folder of a report, so that both can be moved together."""
        return quote(os.fsencode(os.path.relpath(self.path, report)))

    def _open(self) -> IO[bytes]:
        """Opens the file without waiting for the writer of a pipe, or following a link that has just replaced it."""
        flags = os.O_RDONLY | os.O_NONBLOCK | (0 if self.path.is_symlink() else os.O_NOFOLLOW)
        return os.fdopen(os.open(self.path, flags), "rb")


@dataclass(frozen=True, slots=True)
class UnreadableFolder:
    """A folder that could not be read; `name` ends with `/`, which no file's name does."""

    path: Path
    name: str
    reason: str


@dataclass(slots=True)
class Listing:
    """Files to screen and everything else in the folder; `left_out` counts files by suffix."""

    files: Sequence[ScreenedFile] = field(default_factory=list)
    unreadable_folders: list[UnreadableFolder] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    links_not_followed: int = 0


def list_files(folder: Path, *, leaving_out: Path, every_file: bool, follow_links: bool) -> Listing:
    """Lists pictures by their suffix, or every file.

    Links that lead out of the folder are followed only with `follow_links`, and each folder is entered once. Links
    within the folder are read if they lead to files; linked folders are listed only at their own place.
    """
    return _Walk(folder, leaving_out, every_file, follow_links).run()


class _Walk:
    def __init__(self, root: Path, leaving_out: Path, every_file: bool, follow_links: bool) -> None:
        self._root, self._real_root = root, _real(root)
        self._output, self._every_file, self._follow_links = _identity(leaving_out), every_file, follow_links
        self._entered = {_identity(root)}
        self._listing, self._files = Listing(), list[ListedFile]()

    def run(self) -> Listing:
        """Walks without `os.walk`, which recurses in Python 3.11 and fails in deep folders."""
        waiting = [self._root]
        while waiting:
            here = waiting.pop()
            entries = self._entries(here)
            folders = [here / entry.name for entry in entries if _is_folder(entry)]
            names = [entry.name for entry in entries if not _is_folder(entry)]
            self._files += self._pictures(here, names)
            waiting += reversed([folder for folder in folders if self._enters(folder)])
        self._listing.files = self._files
        return self._listing

    def _entries(self, folder: Path) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._listing.unreadable_folders.append(UnreadableFolder(folder, f"{self._name(folder)}/", reason))
            return []

    def _enters(self, folder: Path) -> bool:
        identity = _identity(folder)
        if identity is not None and identity == self._output:
            return False
        if _is_link(folder):
            if _real(folder).is_relative_to(self._real_root):
                return False
            if not self._follow_links:
                self._listing.links_not_followed += 1
                return False
        return not self._follow_links or self._enters_first(identity)

    def _enters_first(self, identity: Identity | None) -> bool:
        """Returns False for a folder that was entered before: several links may lead to it, or form a loop."""
        is_first = identity is None or identity not in self._entered
        self._entered.add(identity)
        return is_first

    def _pictures(self, here: Path, names: list[str]) -> Iterator[ListedFile]:
        for name in names:
            path, suffix = here / name, Path(name).suffix.lower()
            if not self._every_file and suffix not in SUFFIXES:
                self._listing.left_out[printable(suffix) or NO_SUFFIX] += 1
            elif self._leads_out(path) and not self._follow_links:
                self._listing.links_not_followed += 1
            else:
                yield ListedFile(path, self._name(path))

    def _leads_out(self, path: Path) -> bool:
        return _is_link(path) and not _real(path).is_relative_to(self._real_root)

    def _name(self, path: Path) -> str:
        return printable_path(path.relative_to(self._root))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a circular link; reading it as a file gives the reason


def _real(path: Path) -> Path:
    """Resolves links; leaves circular links and paths that are too long as they are."""
    return Path(os.path.realpath(path))


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114 - Path.is_symlink raises where the path is too long


def _identity(folder: Path) -> Identity | None:
    """Returns device and inode, or None for an unreachable folder, which the walk reports."""
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
