import os
import signal
import sys
import threading
from functools import partial
from subprocess import PIPE, Popen

import pytest

from sightline.cli.interruption import Interrupted, StopRequest, interrupted_by_signals, run_unless_stopped


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_exit_with_its_code(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, interrupted_by_signals():
        os.kill(os.getpid(), number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_signals_only_request_a_stop() -> None:
    stop = StopRequest()
    with stop.handling_signals():
        assert not stop
        interrupt()
        assert (bool(stop), stop.by_signal, stop.urgent, stop.exit_code) == (True, True, False, 130)
        interrupt()
        assert stop.urgent
        interrupt()


def test_a_stop_of_the_program_itself_is_no_signal() -> None:
    stop = StopRequest()
    stop.request()
    assert stop.wait(60)
    assert not stop.by_signal
    with stop.handling_signals():
        interrupt()
    assert (stop.by_signal, stop.urgent) == (True, False)


def test_work_that_never_ends_is_left_alone_after_a_signal() -> None:
    stop, never = StopRequest(), threading.Event()
    with stop.handling_signals():
        threading.Timer(0.2, interrupt).start()
        assert run_unless_stopped(never.wait, stop) is None
    never.set()


def test_work_that_ends_gives_its_result_or_its_error() -> None:
    stop = StopRequest()
    assert run_unless_stopped(partial(int, "7"), stop) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        run_unless_stopped(partial(int, "seven"), stop)


def test_signal_ends_the_process_with_the_last_line_of_the_innermost_block() -> None:
    code = """
import hashlib, sys, time
from sightline.cli.interruption import end_on_signals, last_line
end_on_signals()
with last_line(lambda: "outer"), last_line(lambda: "3 of 4 are done"):
    print("ready", flush=True)
    time.sleep(60) if sys.argv[1] == "wait" else hashlib.pbkdf2_hmac('sha256', b'a', b'b', 10 ** 9)
"""
    for work in ("wait", "compute"):
        process = Popen([sys.executable, "-c", code, work], stdout=PIPE, stderr=PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "sightline: 3 of 4 are done\n")
