"""Memory of each service's process at rest: when it has just become ready, and some seconds after work."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from sightline.api.declaration import route_of
from sightline.cli.models import find_models, sample_pictures
from tests.services.service_process import ServiceProcess, running_service

REST_BYTES = 400 * 10**6
TOGETHER_BYTES = 1000 * 10**6
"""Of all services; 200 MB of the fleet's 1.2 GB are left for the gateway, Redis and `sightline up`."""
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads the memory of Linux")


def resident_bytes(service: ServiceProcess) -> int:
    return int(psutil.Process(service.pid).memory_info().rss)


def proportional_bytes(service: ServiceProcess) -> int:
    """The resident memory, with pages that several processes map divided between them."""
    rollup = Path(f"/proc/{service.pid}/smaps_rollup").read_text()
    return next(1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def send_samples(service: ServiceProcess, model: str) -> None:
    """Four of the model's sample requests at once."""
    files = {field: path.read_bytes() for field, path in sample_pictures(model).items()}

    def send(_: int) -> int:
        return httpx2.post(service.url + route_of(model), files=files, timeout=120).status_code

    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(send, range(4))) == {200}


def wait_until(condition: Callable[[], bool]) -> bool:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return condition()


@pytest.fixture(scope="module")
def measured() -> dict[str, int]:
    """Proportional memory of the services that were measured, by model."""
    return {}


@pytest.mark.parametrize("model", find_models())
def test_service_at_rest_keeps_little_memory(model: str, measured: dict[str, int]) -> None:
    with running_service(model) as service:
        assert resident_bytes(service) < REST_BYTES
        measured[model] = proportional_bytes(service)
        send_samples(service, model)
        assert wait_until(lambda: resident_bytes(service) < REST_BYTES)


def test_services_together_keep_little_memory(measured: dict[str, int]) -> None:
    if missing := set(find_models()) - set(measured):
        pytest.skip(f"the memory of {', '.join(sorted(missing))} was not measured in this process")
    assert sum(measured.values()) < TOGETHER_BYTES
