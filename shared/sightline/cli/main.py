"""Entry point of the command line: quick to import, and quiet when it is interrupted."""

# Without the enumerations of `signal`, whose import takes long enough to be interrupted itself.
import _signal as signal  # type: ignore[import-not-found]
import sys


def main() -> None:
    """Runs the command; errors that the user can fix are printed in one sentence, others with a traceback."""
    # Importing the commands takes most of a second. During this time, and while C code decodes a picture, Ctrl-C ends
    # the process at once: as an exception it would print a traceback, or wait for the C code. Commands that must clean
    # up handle signals themselves.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sightline.cli.app import run

    run(sys.argv[1:])
