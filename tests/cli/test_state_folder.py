import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from sightline.cli.state_folder import AlreadyRunningError, find_redis_url, instance_lock, redis_url_file, stop_instance

HOLD = """
import pathlib, signal, sys, time
from sightline.cli.state_folder import instance_lock

if sys.argv[2] == "polite":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with instance_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(started: Callable[..., "Popen[str]"], state: Path, manner: str) -> "Popen[str]":
    process = started(sys.executable, "-c", HOLD, str(state), manner, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_fleet_in_the_same_folder_is_refused(state: Path) -> None:
    with instance_lock(state), pytest.raises(AlreadyRunningError) as caught, instance_lock(state):
        pass
    assert caught.value.pid == os.getpid()


def test_the_folder_is_free_again_afterwards(state: Path) -> None:
    with instance_lock(state):
        pass
    with instance_lock(state):
        pass


def test_nothing_to_end_in_a_folder_that_was_never_used(state: Path) -> None:
    assert stop_instance(state, grace_s=1) is None


def test_nothing_to_end_after_a_crash_whatever_the_stale_file_says(state: Path) -> None:
    state.mkdir()
    (state / "up.pid").write_text(str(os.getpid()))
    assert stop_instance(state, grace_s=1) is None


def test_stop_instance_ends_the_process_that_holds_the_folder(
    state: Path, started: Callable[..., "Popen[str]"]
) -> None:
    process = hold(started, state, "polite")
    assert stop_instance(state, grace_s=30) == process.pid
    assert process.wait(30) == 0


def test_stop_instance_kills_a_process_that_does_not_end(state: Path, started: Callable[..., "Popen[str]"]) -> None:
    process = hold(started, state, "stubborn")
    assert stop_instance(state, grace_s=0.5) == process.pid
    assert process.wait(30) == -signal.SIGKILL


def test_redis_url_file_exists_while_the_fleet_runs(tmp_path: Path) -> None:
    with redis_url_file(tmp_path, "unix:///tmp/a.sock"):
        assert find_redis_url(tmp_path) == "unix:///tmp/a.sock"
    assert find_redis_url(tmp_path) is None


def test_a_new_fleet_overwrites_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "redis.url").write_text("unix:///tmp/the-socket-of-a-fleet-that-is-gone.sock")
    with redis_url_file(tmp_path, "unix:///tmp/b.sock"):
        assert find_redis_url(tmp_path) == "unix:///tmp/b.sock"
