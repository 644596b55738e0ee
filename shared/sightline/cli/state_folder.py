"""State folder of a fleet on this machine: logs, blobs, Redis' data, the lock, and the file with the Redis URL."""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sightline.cli.output import CommandError
from sightline.runtime.private_files import private_folder, private_opener, restrict

SOCKET_FOLDER_PREFIX = "sightline-"
FOLDERS = ("logs", "redis", "blobs")
WEIGHTS = "weights"  # installed public weights, which stay readable to the users of containers
FILES = ("up.pid", "redis.url", "metrics-credential")
POLL_S = 0.1


def prepare_state_folder(state: Path) -> None:
    """Creates the folder, or makes an existing one private to this user.

    A folder that also contains other files, such as a home folder, keeps its permissions; only the fleet's files in it
    become private.
    """
    if not state.exists() or _is_only_state(state):
        private_folder(state)
    for name in FOLDERS:
        folder = private_folder(state / name)
        # Not the blobs themselves: there may be very many, and their private folders protect them.
        for path in (*folder.glob("*"), *folder.glob("*/*")):
            restrict(path)
    for name in FILES:
        restrict(state / name)


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Creates a folder with a short path, because the length of a socket's path is limited."""
    with tempfile.TemporaryDirectory(prefix=SOCKET_FOLDER_PREFIX, ignore_cleanup_errors=True) as short:
        yield Path(short)


def remove_leftovers(state: Path) -> None:
    """Removes the socket folder of a fleet that was killed. Call only while no fleet runs there."""
    url = find_redis_url(state) or ""
    folder = Path(url.removeprefix("unix://")).parent
    is_ours = folder.name.startswith(SOCKET_FOLDER_PREFIX) and folder.parent == Path(tempfile.gettempdir())
    if url.startswith("unix://") and is_ours and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
        (state / "redis.url").unlink(missing_ok=True)


def _is_only_state(state: Path) -> bool:
    return {path.name for path in state.iterdir()} <= {*FOLDERS, *FILES, WEIGHTS}


@contextmanager
def redis_url_file(state: Path, redis_url: str) -> Iterator[None]:
    file = _file(state)
    file.unlink(missing_ok=True)
    with open(file, "x", opener=private_opener, encoding="utf-8") as opened:
        opened.write(redis_url)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def find_redis_url(state: Path) -> str | None:
    """Returns the URL of a running fleet's Redis, or None. A fleet that was killed leaves a stale URL."""
    file = _file(state)
    return file.read_text("utf-8") if file.is_file() else None


def _file(state: Path) -> Path:
    return state / "redis.url"


class AlreadyRunningError(CommandError):
    """The state folder belongs to a running fleet."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"a fleet is already running with this state folder, as process {pid}")
        self.pid = pid


@contextmanager
def instance_lock(folder: Path) -> Iterator[None]:
    """Locks the folder for one fleet; the lock ends with the process, so a stale file does no harm."""
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


def stop_instance(folder: Path, *, grace_s: float) -> int | None:
    """Stops the fleet that holds the folder; returns its process id, or None if there was none."""
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
