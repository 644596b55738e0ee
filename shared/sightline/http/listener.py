"""A listening socket that outlives the process that serves it, so that its port is never closed by a restart."""

import os
import socket
from contextlib import suppress

LISTEN_FD, STOPPING_FD = "SIGHTLINE_LISTEN_FD", "SIGHTLINE_STOPPING_FD"


def inherited_listener() -> socket.socket | None:
    """The socket that a supervisor passed to this process; None where this process opens its own."""
    descriptor = os.environ.get(LISTEN_FD)
    return None if descriptor is None else socket.socket(fileno=int(descriptor))


def signal_stopping() -> None:
    """Lets the supervisor start a successor now, which takes the connections that this process takes no more."""
    descriptor = os.environ.pop(STOPPING_FD, None)
    if descriptor is not None:
        with suppress(OSError):
            os.close(int(descriptor))
