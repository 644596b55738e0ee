"""Where the process of the command line starts: quick to import, and quiet when it is interrupted."""

# Without the enumerations of `signal`, whose import takes long enough to be interrupted itself.
import _signal as signal  # type: ignore[import-not-found]
import sys


def main() -> None:
    """Prints faults that the operator can mend as a sentence; anything else keeps its traceback."""
    # The commands take most of a second to import. Ctrl-C meanwhile, or while C code decodes a picture, ends the
    # process where it stands: as an exception it would print a traceback, or wait for the C code. Commands with
    # something to clean up handle signals themselves.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sightline.cli.app import run

    run(sys.argv[1:])
