"""Listening sockets that outlive the process that serves them, so that a restart never closes their port."""

import os
import socket
from contextlib import suppress

LISTEN_FD, STOPPING_FD = "SIGHTLINE_LISTEN_FD", "SIGHTLINE_STOPPING_FD"


def inherited_listener() -> socket.socket | None:
    """Returns the socket that a supervisor passed to this process; None where it opens its own."""
    descriptor = os.environ.get(LISTEN_FD)
    return None if descriptor is None else socket.socket(fileno=int(descriptor))


def signal_stopping() -> None:
    """Tells the supervisor to start the successor now, which accepts the connections from here on."""
    descriptor = os.environ.pop(STOPPING_FD, None)
    if descriptor is not None:
        with suppress(OSError):
            os.close(int(descriptor))
