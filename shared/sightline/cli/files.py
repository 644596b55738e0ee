"""Files that the command line writes: whole or not at all."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from sightline.cli.faults import Fault
from sightline.cli.text import printable


def require_writable(out: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Fault where `out` cannot become a file, or is one of the inputs."""
    folder, shown = out.parent, printable(str(out))
    if not folder.is_dir():
        raise Fault(f"there is no folder {printable(str(folder))} to write {out.name!r} into; create it first")
    if out.is_dir():
        raise Fault(f"{shown} is a folder; name a file in it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Fault(f"no file can be written into {printable(str(folder))}: permission denied")
    if out.exists() and any(out.samefile(each) for each in inputs):
        raise Fault(f"{shown} is the input, which would be overwritten; choose another name for the output")


def write_whole(out: Path, data: bytes) -> None:
    """Written aside and renamed, so that nobody ever sees half of it; Fault where the system refuses."""
    target = out.resolve()  # a link keeps pointing to the file
    partial = target.with_name(f".{uuid4().hex}.part")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    except OSError as error:
        raise Fault(f"{printable(str(out))} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
