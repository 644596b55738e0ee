import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from sightline.api.problems import Problem
from sightline.cli.fleet import free_port
from sightline.jobs.connection import connect, connect_sync, parse_sentinel_url, redis_errors_as_problems
from sightline.jobs.settings import JobSettings
from tests.redis_server import EMBEDDED

PATIENCE_S = 30.0
DOWN_AFTER_MS = 500


def test_sentinel_url_is_parsed() -> None:
    found = parse_sentinel_url("rediss+sentinel://worker:a%2Fb@one:1,two/main/3")
    assert found
    assert found.sentinels == (("one", 1), ("two", 26379))
    assert found.service == "main"
    assert found.options == {"username": "worker", "password": "a/b", "db": 3, "ssl": True}


def test_plain_redis_url_is_not_a_sentinel_url() -> None:
    assert parse_sentinel_url("redis://one:6379") is None


@pytest.mark.parametrize("url", ["redis+sentinel://one:1", "redis+sentinel:///main"])
def test_incomplete_sentinel_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_sentinel_url(url)


def test_the_password_of_a_file_goes_to_the_redis(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    url = JobSettings(redis_url="redis+sentinel://one:1,two:2/main", redis_password_file=file).redis_url
    assert url == "redis+sentinel://:secret@one:1,two:2/main"


class Guarded:
    """A Redis with a replica, and a sentinel over both."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.master_port, self.replica_port, port = free_port(), free_port(), free_port()
        self.url = f"redis+sentinel://127.0.0.1:{port}/main"
        self._folder, self._running = folder, running
        self.master = self._start("master", f"port {self.master_port}\nreplica-priority 100\n")
        self._start("replica", f"port {self.replica_port}\nreplicaof 127.0.0.1 {self.master_port}\n")
        wait_until(lambda: b"slave0" in subprocess.check_output(self._cli(self.master_port, "info", "replication")))
        self._start(
            "sentinel",
            f"port {port}\nsentinel monitor main 127.0.0.1 {self.master_port} 1\n"
            f"sentinel down-after-milliseconds main {DOWN_AFTER_MS}\nsentinel failover-timeout main 3000\n",
            "--sentinel",
        )
        self._sentinel = redis.Redis(port=port, decode_responses=True)
        running.callback(self._sentinel.close)
        wait_until(lambda: len(self._sentinel.sentinel_slaves("main")) == 1)

    @property
    def port_now(self) -> int:
        found: Any = self._sentinel.sentinel_get_master_addr_by_name("main")
        return int(found[1])

    def _start(self, name: str, text: str, *options: str) -> subprocess.Popen[bytes]:
        file = self._folder / f"{name}.conf"
        file.write_text(f'{text}bind 127.0.0.1\nsave ""\ndir {self._folder}\n')
        process = subprocess.Popen([EMBEDDED, str(file), *options], stdout=subprocess.DEVNULL)
        self._running.callback(process.wait)
        self._running.callback(process.send_signal, signal.SIGKILL)
        wait_until(lambda: self._answers(text.split()[1]))
        return process

    def _answers(self, port: str) -> bool:
        return subprocess.run(self._cli(int(port), "ping"), capture_output=True).stdout.strip() == b"PONG"

    @staticmethod
    def _cli(port: int, *words: str) -> list[str]:
        return [str(Path(EMBEDDED).with_name("redis-cli")), "-p", str(port), *words]


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.1)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    with ExitStack() as running:
        yield Guarded(tmp_path, running)


@pytest.mark.anyio
async def test_both_clients_follow_the_sentinels_to_the_new_master(guarded: Guarded) -> None:
    async with connect(guarded.url) as client:
        await client.set("key", "value")
        with connect_sync(guarded.url) as beside:
            assert beside.get("key") == "value"
            guarded.master.kill()
            wait_until(lambda: guarded.port_now == guarded.replica_port)
            give_up_at = time.monotonic() + PATIENCE_S
            while True:
                try:
                    async with redis_errors_as_problems():
                        await client.set("key", "another")
                    break
                except Problem:
                    assert time.monotonic() < give_up_at
            wait_until(lambda: is_there(beside, "another"))


def is_there(client: redis.Redis, value: str) -> bool:
    try:
        return bool(client.get("key") == value)
    except redis.RedisError:
        return False
