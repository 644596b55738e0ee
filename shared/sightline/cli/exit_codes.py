"""Exit codes of every command, so that scripts can tell what to do next."""

from collections.abc import Mapping
from enum import IntEnum

from sightline.api.problems import Problem
from sightline.client import (
    InvalidRequest,
    NotSightline,
    Overloaded,
    SightlineError,
    Unauthorized,
    Unreachable,
)

CLIENT_FAULTS, BUSY = range(400, 500), (502, 503, 504)


class ExitCode(IntEnum):
    """Exit codes; a signal ends a command with 128 plus its number, as in shells."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SOME_FAILED = 3
    UNREACHABLE = 4
    REFUSED = 5
    BAD_INPUT = 6
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed; the reason is on standard error",
    ExitCode.USAGE: "wrong usage: a command, option, model or file that does not exist",
    ExitCode.SOME_FAILED: "finished, but some pictures could not be processed",
    ExitCode.UNREACHABLE: "no fleet at the address, or it is busy or starting: try later",
    ExitCode.REFUSED: "the API key is missing, unknown or not allowed to do this",
    ExitCode.BAD_INPUT: "the picture, mask or an option's value cannot be used: change it",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.TERMINATED: "ended by SIGTERM, such as from `sightline down`",
}
"""The table of the help text and of docs/command-line.md."""

_BY_ERROR: Mapping[type[SightlineError], ExitCode] = {
    Unauthorized: ExitCode.REFUSED,
    Unreachable: ExitCode.UNREACHABLE,
    NotSightline: ExitCode.UNREACHABLE,
    Overloaded: ExitCode.UNREACHABLE,
    InvalidRequest: ExitCode.BAD_INPUT,
}


def exit_code_of(error: Exception) -> ExitCode:
    """Returns the exit code of a command that this error ends."""
    if isinstance(error, Problem):
        return _code_of_problem(error)
    for kind, code in _BY_ERROR.items():
        if isinstance(error, kind):
            return code
    return ExitCode(getattr(error, "exit_code", ExitCode.FAILED))


def _code_of_problem(problem: Problem) -> ExitCode:
    if problem.status in BUSY:
        return ExitCode.UNREACHABLE
    return ExitCode.BAD_INPUT if problem.status in CLIENT_FAULTS else ExitCode.FAILED


def exit_code_table() -> str:
    """Returns the table as text, one code on each line."""
    return "\n".join(f"{code:>4}  {meaning}" for code, meaning in MEANINGS.items())
