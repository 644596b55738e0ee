"""One fleet per state folder: a locked file that names the process that runs it."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sightline.cli.faults import Fault
from sightline.runtime.private_files import private_folder, private_opener

POLL_S = 0.1


class AlreadyRunningError(Fault):
    """The state folder belongs to a running fleet."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"it runs already, as process {pid}")
        self.pid = pid


@contextmanager
def only_instance(folder: Path) -> Iterator[None]:
    """Holds the folder; the lock ends with the process, so that a stale file never misleads."""
    if not folder.exists():
        private_folder(folder)
    with open(_pid_file(folder), "a+", opener=private_opener, encoding="ascii") as file:
        if not _try_lock(file):
            raise AlreadyRunningError(_read_pid(file))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def end_instance(folder: Path, *, grace_s: float) -> int | None:
    """End the fleet that holds the folder; the process it was, None where none was."""
    if not _pid_file(folder).exists():
        return None
    with _pid_file(folder).open("r+", encoding="ascii") as file:
        if _try_lock(file):
            return None
        pid = _read_pid(file)
        os.kill(pid, signal.SIGTERM)
        if not _wait_for_lock(file, grace_s):
            os.kill(pid, signal.SIGKILL)
            _wait_for_lock(file, grace_s)
        return pid


def _pid_file(folder: Path) -> Path:
    return folder / "up.pid"


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(file: IO[str]) -> int:
    file.seek(0)
    return int(file.read())


def _wait_for_lock(file: IO[str], grace_s: float) -> bool:
    give_up_at = time.monotonic() + grace_s
    while not _try_lock(file):
        if time.monotonic() > give_up_at:
            return False
        time.sleep(POLL_S)
    return True
