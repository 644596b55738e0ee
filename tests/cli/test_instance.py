import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from sightline.cli.instance import AlreadyRunningError, end_instance, only_instance

HOLD = """
import pathlib, signal, sys, time
from sightline.cli.instance import only_instance

if sys.argv[2] == "polite":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with only_instance(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(started: Callable[..., "Popen[str]"], state: Path, manner: str) -> "Popen[str]":
    process = started(sys.executable, "-c", HOLD, str(state), manner, stdout=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_fleet_in_the_same_folder_is_refused(state: Path) -> None:
    with only_instance(state), pytest.raises(AlreadyRunningError) as caught, only_instance(state):
        pass
    assert caught.value.pid == os.getpid()


def test_the_folder_is_free_again_afterwards(state: Path) -> None:
    with only_instance(state):
        pass
    with only_instance(state):
        pass


def test_nothing_to_end_in_a_folder_that_was_never_used(state: Path) -> None:
    assert end_instance(state, grace_s=1) is None


def test_nothing_to_end_after_a_crash_whatever_the_stale_file_says(state: Path) -> None:
    state.mkdir()
    (state / "up.pid").write_text(str(os.getpid()))
    assert end_instance(state, grace_s=1) is None


def test_ends_the_process_that_holds_the_folder(state: Path, started: Callable[..., "Popen[str]"]) -> None:
    process = hold(started, state, "polite")
    assert end_instance(state, grace_s=30) == process.pid
    assert process.wait(30) == 0


def test_kills_a_process_that_does_not_end(state: Path, started: Callable[..., "Popen[str]"]) -> None:
    process = hold(started, state, "stubborn")
    assert end_instance(state, grace_s=0.5) == process.pid
    assert process.wait(30) == -signal.SIGKILL
