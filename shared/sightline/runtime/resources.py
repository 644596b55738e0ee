"""Cores, memory and threads that this process may use."""

import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMORY_INFO = Path("/proc/meminfo")
START_TIMEOUT_S = 10.0
MAX_CALLER_SHARE = 3
"""Multiple of the free places of a pool that one caller may hold: alone, a caller gets three quarters of all."""


def available_cores() -> int:
    """Returns the cores that this process may use; in a container these may be fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, cores_of_quota(CGROUPS))


def cores_of_quota(cgroups: Path) -> int:
    """Returns a container's share of processor time in whole cores, rounded up; more threads would be throttled."""
    first = cgroups / "cpu"  # of version 1 of control groups, where -1 is no limit
    quota = _words(cgroups / "cpu.max") or _words(first / "cpu.cfs_quota_us") + _words(first / "cpu.cfs_period_us")
    if len(quota) < 2 or not quota[0].isdigit():  # no container, or one without a limit: `max 100000`
        return sys.maxsize
    return math.ceil(int(quota[0]) / int(quota[1]))


def available_memory_bytes() -> int:
    """Returns the machine's memory, or the container's limit where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, memory_limit_bytes(CGROUPS))


def memory_limit_bytes(cgroups: Path) -> int:
    """Returns the container's memory limit, in version 1 or 2 of control groups."""
    limit = _words(cgroups / "memory.max") or _words(cgroups / "memory" / "memory.limit_in_bytes")
    # No container, or one without a limit: `max`, in version 1 a number beyond every machine.
    return int(limit[0]) if limit and limit[0].isdigit() else sys.maxsize


def free_memory_bytes() -> int:
    """Returns the memory that new processes can have without swapping, or what a container's limit leaves of it."""
    free = available_memory_bytes()
    for name, value, *_ in (line.split() for line in _lines(MEMORY_INFO)):
        if name == "MemAvailable:":
            free = min(free, int(value) << 10)
    used = _words(CGROUPS / "memory.current")
    return min(free, memory_limit_bytes(CGROUPS) - int(used[0])) if used else free


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def start_threads(pool: ThreadPoolExecutor, count: int) -> None:
    """Starts all threads of a pool now, because the system may have none left later."""
    barrier = threading.Barrier(count)
    started = [pool.submit(barrier.wait, START_TIMEOUT_S) for _ in range(count)]
    wait(started)
