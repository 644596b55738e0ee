"""The folder of a fleet on this machine: logs, blobs, Redis' data and how to reach it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.cli.landmark import find_redis
from sightline.runtime.private_files import private_folder, restrict

SOCKET_FOLDER_PREFIX = "sightline-"
FOLDERS = ("logs", "redis", "blobs")
FILES = ("up.pid", "redis.url", "metrics-credential")


def prepare(state: Path) -> None:
    """Creates the folder, or takes an existing one from other users of this machine.

    A folder that also holds other things, such as a home folder, keeps its own permissions; what is in it of the
    fleet loses them all the same.
    """
    if not state.exists() or _is_only_state(state):
        private_folder(state)
    for name in FOLDERS:
        folder = private_folder(state / name)
        # Not the blobs themselves: there may be very many, and their folders protect them.
        for path in (*folder.glob("*"), *folder.glob("*/*")):
            restrict(path)
    for name in FILES:
        restrict(state / name)


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder with a short path, because sockets have no long names and the state folder may lie deep."""
    with tempfile.TemporaryDirectory(prefix=SOCKET_FOLDER_PREFIX, ignore_cleanup_errors=True) as short:
        yield Path(short)


def remove_leftovers(state: Path) -> None:
    """Of a fleet that was killed: the folder of its socket. Only while no fleet runs there."""
    url = find_redis(state) or ""
    folder = Path(url.removeprefix("unix://")).parent
    is_ours = folder.name.startswith(SOCKET_FOLDER_PREFIX) and folder.parent == Path(tempfile.gettempdir())
    if url.startswith("unix://") and is_ours and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
        (state / "redis.url").unlink(missing_ok=True)


def _is_only_state(state: Path) -> bool:
    return {path.name for path in state.iterdir()} <= {*FOLDERS, *FILES}
