"""Files and folders that only their owner reads: jobs hold people's pictures and the secrets of webhooks."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600
UMASK = 0o077


@contextmanager
def private_umask() -> Iterator[None]:
    """Keeps what this process and its children create inside the block private to their owner."""
    before = os.umask(UMASK)
    try:
        yield
    finally:
        os.umask(before)


def private_opener(path: str, flags: int) -> int:
    """Opener for `open` that creates files private to their owner."""
    return os.open(path, flags, FILE_MODE)


def private_folder(path: Path) -> Path:
    """Creates the folder, or makes an existing one private to its owner."""
    path.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    restrict(path)
    return path


def restrict(path: Path) -> None:
    """Makes a file or folder private to its owner; leaves links, shared folders and those of other users alone."""
    with suppress(FileNotFoundError):
        about = path.lstat()
        is_shared = stat.S_ISLNK(about.st_mode) or about.st_mode & stat.S_ISVTX or about.st_uid != os.geteuid()
        mode = FOLDER_MODE if stat.S_ISDIR(about.st_mode) else FILE_MODE
        if not is_shared and stat.S_IMODE(about.st_mode) != mode:
            path.chmod(mode)
