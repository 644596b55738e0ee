"""The gateway as a process of its own, told to stop while clients wait for jobs."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from sightline.cli.fleet import free_port, listen_on, serve_command
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import Eventually

ROOT = Path(__file__).parents[3]
LIMIT_S = 30
FAR_S = 50  # a client's patience, far beyond what a stopping gateway has


@contextmanager
def gateway(jobs: JobSettings) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    port = free_port()
    names = {"SIGHTLINE_REDIS_URL": jobs.redis_url or "", "SIGHTLINE_BLOBS_URL": jobs.blobs_url or ""}
    upstreams = {"SIGHTLINE_UPSTREAMS": '{"echo": ["http://127.0.0.1:9"]}'}
    environment = {**os.environ, **names, **upstreams, **listen_on("127.0.0.1", port)}
    with subprocess.Popen(serve_command("gateway"), env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


def lives(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/livez").status_code == 200
    except httpx2.TransportError:
        return False


def send(url: str, prefer: str) -> httpx2.Response:
    headers = {"Content-Type": "text/plain", "Prefer": prefer}
    return httpx2.post(f"{url}/v1/echo", content=b"work", headers=headers, timeout=LIMIT_S)


def waiting(url: str) -> int:
    return len(httpx2.get(f"{url}/v1/jobs").json()["jobs"])


@pytest.mark.usefixtures("redis_server")
def test_a_gateway_that_stops_lets_go_of_those_who_wait_for_jobs(jobs: JobSettings, eventually: Eventually) -> None:
    with gateway(jobs) as (url, process), ThreadPoolExecutor() as pool:
        eventually(lambda: lives(url))
        path = send(url, "respond-async").json()["links"]["events"]
        joined = pool.submit(send, url, f"wait={FAR_S}")
        eventually(lambda: waiting(url) == 2)
        with httpx2.stream("GET", url + path, timeout=LIMIT_S) as reply:
            lines = reply.iter_lines()
            while next(lines) != "event: queued":
                pass
            process.send_signal(signal.SIGTERM)
            assert not [line for line in lines if line.startswith("event: ")]
        assert (joined.result().status_code, joined.result().json()["state"]) == (202, "queued")
        assert process.wait(LIMIT_S) == -signal.SIGTERM
