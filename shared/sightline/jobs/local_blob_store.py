"""Blob storage in a folder."""

import os
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from sightline.runtime.private_files import FOLDER_MODE, private_folder, private_opener, restrict

BLOCK_BYTES = 1024 * 1024
INCOMING = "incoming"
IDENTITY = "store-id"  # this file distinguishes a store from an empty folder, such as the mount point of a missing disk


class StoreMissingError(OSError):
    """The expected store is missing, or another one is in its place."""


class LocalBlobStore:
    """Blobs as files, on a local disk or a shared volume.

    A blob appears under its name complete and synced to disk, or not at all, even after a power failure.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._identity = root, ""

    def identity(self) -> str | None:
        """Returns the identity of the store in the folder, or None."""
        try:
            return (self._root / IDENTITY).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def create(self, identity: str) -> None:
        """Turns an empty folder into a store. Raises StoreMissingError if it has become another store."""
        if self.identity() is None:
            private_folder(self._root)
            partial = self._root / f"{IDENTITY}.{uuid4().hex}"
            with open(partial, "x", opener=private_opener, encoding="ascii") as file:
                file.write(f"{identity}\n")
            partial.replace(self._root / IDENTITY)
            _sync(self._root)
        self.attach(identity)

    def attach(self, identity: str) -> None:
        """Uses the store of this identity only. Raises StoreMissingError if it is missing."""
        self._identity = identity
        self.check_identity()
        restrict(self._root)

    def check_identity(self) -> None:
        """Raises StoreMissingError for another store or none."""
        if self.identity() != self._identity:
            raise StoreMissingError

    def open_upload(self) -> "LocalBlobUpload":
        self.check_identity()
        return LocalBlobUpload(self._root, self.check_identity)

    def blocks(self, name: str) -> Generator[bytes]:
        try:
            file = (self._root / name).open("rb")
        except FileNotFoundError:
            self.check_identity()
            raise
        with file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def delete(self, name: str) -> None:
        self.check_identity()
        (self._root / name).unlink(missing_ok=True)

    def list_blobs(self, folder: str, *, older_than_s: float) -> Generator[tuple[str, int]]:
        """Yields names and sizes in bytes of the blobs below a folder that are older than that."""
        self.check_identity()
        for path in sorted((self._root / folder).glob("*/*")):
            with suppress(FileNotFoundError):
                if _age_s(path) >= older_than_s:
                    yield path.relative_to(self._root).as_posix(), path.stat().st_size

    def delete_abandoned(self, *, older_than_s: float) -> int:
        """Deletes uploads whose writers died; returns their number."""
        self.check_identity()
        stale = [path for path in (self._root / INCOMING).glob("*") if _age_s(path) > older_than_s]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


class LocalBlobUpload:
    """A file that is renamed to its blob's name when it is committed."""

    def __init__(self, root: Path, check_identity: Callable[[], None]) -> None:
        self._root, self._path, self._check_identity = root, root / INCOMING / uuid4().hex, check_identity
        self._path.parent.mkdir(exist_ok=True, mode=FOLDER_MODE)
        self._file = open(self._path, "xb", opener=private_opener)  # noqa: SIM115 - closed by commit or abort

    def write(self, block: bytes) -> None:
        self._file.write(block)

    def commit(self, name: str) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._check_identity()
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._path.replace(target)
        # A new name is durable after its folder is synced, and that folder may be new too.
        _sync(target.parent)
        _sync(target.parent.parent)

    def abort(self) -> None:
        with suppress(OSError):
            self._file.close()  # flushes the buffer, which fails on a full disk, but closes the file nevertheless
        self._path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _age_s(path: Path) -> float:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime
    return 0.0
