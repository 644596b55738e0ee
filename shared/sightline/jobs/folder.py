import os
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

BLOCK_BYTES = 1024 * 1024
INCOMING = "incoming"


class Folder:
    """Blobs as files, on a disk of this machine or on a volume that machines share.

    A blob appears under its name whole and on the disk, or not at all, even when the power fails.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def draft(self) -> "FolderDraft":
        return FolderDraft(self._root)

    def blocks(self, name: str) -> Generator[bytes]:
        with (self._root / name).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def sweep(self, *, older_than_s: float) -> int:
        """Deletes drafts whose writers died; returns how many."""
        stale = [path for path in (self._root / INCOMING).glob("*") if _age_s(path) > older_than_s]
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


class FolderDraft:
    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / INCOMING / uuid4().hex
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("xb")

    def write(self, block: bytes) -> None:
        self._file.write(block)

    def keep(self, name: str) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)
        # The new name is on the disk once its folder is, and that folder may be new itself.
        _sync(target.parent)
        _sync(target.parent.parent)

    def discard(self) -> None:
        with suppress(OSError):
            self._file.close()  # writes what is buffered: a full disk refuses that, and closes all the same
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
