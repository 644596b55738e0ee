"""Text that a terminal, a table or a page can show whatever a file system or a server holds."""

import os
import re
from pathlib import PurePath

# Controls, marks that change the direction of what follows, line separators, and bytes that are not UTF-8.
_UNSHOWABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_TEXT = re.compile(f"[{_UNSHOWABLE}]")
_NAME = re.compile(rf"[\\{_UNSHOWABLE}]")


def printable(text: str) -> str:
    """With escapes as Python writes them for what cannot be shown."""
    return _TEXT.sub(_escape, text)


def printable_path(path: PurePath) -> str:
    """The same for a path; two paths never give the same text, because a backslash is written twice.

    The file system's bytes are read as UTF-8 whatever the locale; a byte that is none is written as `\\xNN`.
    """
    return _NAME.sub(_escape, os.fsencode(path).decode("utf-8", "surrogateescape"))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # Only bytes above 7F are written with two digits, so that U+0085 and the byte 85 differ.
    return f"\\u{code:04x}" if code >= 0x80 else ascii(character)[1:-1]
