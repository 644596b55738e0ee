"""Executes a program that the kernel kills when the process that started it dies.

Use: `python -IS parent_death.py PARENT_PID PROGRAM ARGUMENT...`. As a script of its own it sets the signal after fork
without running Python code between fork and exec of the caller.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent dies, also after exec. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(128 + signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the supervisor's own command line
