"""What the fleet takes while nobody asks anything of it."""

import os
import time

import pytest

from tests.stack.compose import MODELS, Stack
from tests.stack.load import cpu_s, memory_bytes

pytestmark = pytest.mark.stack

WATCHED_S = 60.0
SETTLED_S = 10.0
MAX_SHARE = 0.02  # of the machine
PARTS = ("gateway", "redis", *MODELS)


def test_idle_fleet_uses_little_cpu_and_memory(stack: Stack) -> None:
    time.sleep(SETTLED_S)
    containers = {part: stack.containers(part)[0] for part in (*PARTS, "prometheus")}
    started, before = time.monotonic(), {part: cpu_s(container) for part, container in containers.items()}
    time.sleep(WATCHED_S)
    after = {part: cpu_s(container) for part, container in containers.items()}
    elapsed_s = time.monotonic() - started
    shares = {part: (after[part] - before[part]) / elapsed_s for part in containers}
    for part, container in containers.items():
        print(f"{part}: {100 * shares[part]:.2f} % of a core, {memory_bytes(container) / 2**20:.0f} MiB")
    assert sum(shares[part] for part in PARTS) / (os.cpu_count() or 1) < MAX_SHARE
