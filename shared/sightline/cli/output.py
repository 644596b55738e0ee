"""Output of the command line: errors in one sentence, printable text, and files that are written completely or not."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from uuid import uuid4

# Control characters, marks that change the writing direction, line separators, and bytes that are not UTF-8.
_UNSHOWABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_TEXT = re.compile(f"[{_UNSHOWABLE}]")
_NAME = re.compile(rf"[\\{_UNSHOWABLE}]")


class CommandError(Exception):
    """An error that the user can fix; it ends the command with its message, without a traceback."""


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
        raise CommandError(f"there is no folder {printable(str(folder))} to write {out.name!r} into; create it first")
    if out.is_dir():
        raise CommandError(f"{shown} is a folder; name a file in it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"no file can be written into {printable(str(folder))}: permission denied")
    if out.exists() and any(out.samefile(each) for each in inputs):
        raise CommandError(f"{shown} is the input, which would be overwritten; choose another name for the output")


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
