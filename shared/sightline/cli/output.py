"""Output of the command line: errors in one sentence, printable text, and files that are written completely or not."""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

import typer
from rich.console import Console

from sightline.cli.exit_codes import ExitCode

# Control characters, marks that change the writing direction, line separators, and bytes that are not UTF-8.
_UNSHOWABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_TEXT = re.compile(f"[{_UNSHOWABLE}]")
_NAME = re.compile(rf"[\\{_UNSHOWABLE}]")


STANDARD_STREAM = Path("-")
"""Stands for standard input or output where a command takes a file."""
PIPE_WIDTH = 10_000
MAX_PICTURE_BYTES = 1 << 30
"""More is not read from standard input: a pipe that never ends must not fill the memory."""


class CommandError(Exception):
    """An error that the user can fix; it ends the command with its message and exit code, without a traceback."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Returns the end of an error message: the most similar choice, or all of them."""
    known = list(choices)
    by_form = {each.lower().replace("_", "-"): each for each in known}
    near = difflib.get_close_matches(word.strip().lower().replace("_", "-"), by_form, n=1)
    return f"did you mean {by_form[near[0]]}?" if near else f"there are: {', '.join(known) or 'none'}"


def print_json(facts: Any) -> None:
    """Prints one JSON document on standard output, indented on a terminal and on one line in a pipe."""
    typer.echo(json.dumps(facts, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def console(*, stderr: bool = False) -> Console:
    """Returns a console for tables and summaries. In a pipe its lines are as long as their text, without colours."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def note(message: str) -> None:
    """Prints a line on standard error, where it does not mix with results."""
    typer.echo(printable(message), err=True)


def read_file(path: Path) -> bytes:
    """Returns the contents of a file, or of standard input for `-`. Raises CommandError if it cannot be read."""
    if path == STANDARD_STREAM:
        return _read_standard_input()
    shown = printable(str(path))
    if not path.exists():
        raise CommandError(f"there is no file {shown}", ExitCode.USAGE)
    if path.is_dir():
        raise CommandError(
            f"{shown} is a folder, and one picture is needed; `sightline batch MODEL FOLDER` runs a model on a folder",
            ExitCode.USAGE,
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{shown} cannot be read: {error.strerror}", ExitCode.USAGE) from None


def _read_standard_input() -> bytes:
    if sys.stdin.isatty():
        raise CommandError("- reads a picture from standard input, but nothing is piped into it", ExitCode.USAGE)
    data = sys.stdin.buffer.read(MAX_PICTURE_BYTES + 1)
    if not data:
        raise CommandError("standard input is empty; the command before the pipe wrote nothing", ExitCode.BAD_INPUT)
    if len(data) > MAX_PICTURE_BYTES:
        raise CommandError(f"standard input has more than {MAX_PICTURE_BYTES} bytes", ExitCode.BAD_INPUT)
    return data


def require_binary_output() -> None:
    """Raises CommandError if standard output is a terminal, which shows bytes of pictures as noise."""
    if sys.stdout.isatty():
        raise CommandError(
            "-o - would write a picture or archive to the terminal; redirect it (`> FILE`), pipe it, or name a file",
            ExitCode.USAGE,
        )


def write_standard_output(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def printable(text: str) -> str:
    """Returns the text with Python escapes for characters that cannot be shown."""
    return _TEXT.sub(_escape, text)


def printable_path(path: PurePath) -> str:
    """Like `printable`, for a path. Backslashes are doubled, so that two paths never give the same text.

    The bytes of the path are read as UTF-8 whatever the locale; other bytes are written as `\\xNN`.
    """
    return _NAME.sub(_escape, os.fsencode(path).decode("utf-8", "surrogateescape"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # Only bytes above 7F have two digits, so that U+0085 and the byte 85 differ.
    return f"\\u{code:04x}" if code >= 0x80 else ascii(character)[1:-1]


def require_writable(out: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Raises CommandError if `out` cannot become a file, or is one of the inputs."""
    folder, shown = out.parent, printable(str(out))
    if not folder.is_dir():
        raise CommandError(
            f"there is no folder {printable(str(folder))} to write {out.name!r} into; create it first", ExitCode.USAGE
        )
    if out.is_dir():
        raise CommandError(f"{shown} is a folder; name a file in it", ExitCode.USAGE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"no file can be written into {printable(str(folder))}: permission denied")
    if out.exists() and any(out.samefile(each) for each in inputs):
        raise CommandError(
            f"{shown} is the input, which would be overwritten; choose another name for the output", ExitCode.USAGE
        )


def write_whole(out: Path, data: bytes) -> None:
    """Writes a temporary file and renames it, so that no reader sees a partial file; raises CommandError on failure."""
    target = out.resolve()  # a link keeps pointing to the file
    partial = target.with_name(f".{uuid4().hex}.part")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise CommandError(f"{printable(str(out))} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
