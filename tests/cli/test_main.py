"""The process of the command line, as a terminal runs it."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run

import pytest

from sightline import __version__
from sightline.cli.fleet import free_port

PHOTO = Path(__file__).parents[2] / "samples" / "photo.jpg"
COMMANDS = {
    "help": "--help",
    "predict": f"predict inpaint {PHOTO} -o out.png",
    "screen": f"screen {PHOTO.parent} -o out",
    "jobs": "jobs queues",
    "up": "up inpaint --port PORT --state state",
}
# Python itself takes some hundredths of a second before the first line of the program runs.
AFTER_S = (0.15, 0.4, 0.8)


@pytest.mark.parametrize("after_s", AFTER_S)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_ctrl_c_at_any_time_prints_no_traceback(
    tmp_path: Path, started: Callable[..., "Popen[str]"], command: str, after_s: float
) -> None:
    (tmp_path / "tmp").mkdir()
    words = command.replace("PORT", str(free_port())).split()
    environment = {"TMPDIR": str(tmp_path / "tmp")}
    code = "import sys; sys.argv[0] = 'sightline'; from sightline.cli.main import main; print(flush=True); main()"
    process = started(sys.executable, "-c", code, *words, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=90)
    assert "Traceback" not in said + errors
    assert not list((tmp_path / "tmp").iterdir())


def run_cli(*words: str, **environment: str) -> "CompletedProcess[str]":
    command = (sys.executable, "-m", "sightline.cli", *words)
    return run(command, env={**os.environ, **environment}, capture_output=True, text=True)


def test_version_is_that_of_the_package() -> None:
    assert run_cli("--version").stdout == f"sightline {__version__}\n"


@pytest.mark.parametrize("words", [(), ("screen",), ("weights", "get"), ("jobs", "list")])
def test_short_option_prints_the_help(words: tuple[str, ...]) -> None:
    done = run_cli(*words, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: " in done.stdout


def test_mistyped_command_gets_a_suggestion() -> None:
    done = run_cli("scren", "folder")
    assert done.returncode == 2
    assert "Did you mean 'screen'?" in done.stderr


def test_shell_completes_commands() -> None:
    completion = {"_SIGHTLINE_COMPLETE": "complete_bash", "COMP_WORDS": "sightline we", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'sightline'; from sightline.cli.main import main; main()"
    done = run([sys.executable, "-c", code], env={**os.environ, **completion}, capture_output=True, text=True)
    assert done.stdout.split() == ["weights"]
