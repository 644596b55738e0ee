"""Draining: the gateway's process stops while clients wait for jobs."""

import os
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import pytest

from sightline.cli.fleet import free_port, listen_on, serve_command
from sightline.jobs.settings import JobSettings
from tests.redis_server import RedisServer
from tests.services.gateway.conftest import Eventually

ROOT = Path(__file__).parents[3]
LIMIT_S = 30
FAR_S = 50  # a client's patience, far beyond what a stopping gateway has


@contextmanager
def gateway(
    jobs: JobSettings, log: int | IO[bytes] = subprocess.DEVNULL
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    port = free_port()
    names = {"SIGHTLINE_REDIS_URL": jobs.redis_url or "", "SIGHTLINE_BLOBS_URL": jobs.blobs_url or ""}
    upstreams = {"SIGHTLINE_UPSTREAMS": '{"echo": ["http://127.0.0.1:9"]}'}
    environment = {**os.environ, **names, **upstreams, **listen_on("127.0.0.1", port)}
    with subprocess.Popen(serve_command("gateway"), env=environment, cwd=ROOT, stdout=log, stderr=log) as process:
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
def test_draining_ends_the_waits_for_jobs(jobs: JobSettings, eventually: Eventually) -> None:
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


def test_aborted_event_streams_log_no_errors(
    redis_server: RedisServer, jobs: JobSettings, eventually: Eventually, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb") as log, gateway(jobs, log) as (url, process):
        eventually(lambda: lives(url))
        path = send(url, "respond-async").json()["links"]["events"]
        for delay_s in (0.0, 0.005, 0.02, 0.1):
            cut_streams(url, path, delay_s=delay_s)
        streams = [open_stream(url, path) for _ in range(20)]
        time.sleep(0.3)
        redis_server.pause()
        cut(streams[:10])
        time.sleep(6)  # those that are left lose Redis
        redis_server.resume()
        cut(streams[10:])
        streams = [open_stream(url, path) for _ in range(20)]
        httpx2.delete(url + path.removesuffix("/events"))
        cut(streams)
        streams = [open_stream(url, send(url, "respond-async").json()["links"]["events"]) for _ in range(5)]
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        cut(streams)
        process.wait(LIMIT_S)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line for line in lines if re.search("generator|Traceback|unhandled|never retrieved", line)] == []


def cut_streams(url: str, path: str, *, delay_s: float) -> None:
    streams = [open_stream(url, path) for _ in range(30)]
    time.sleep(delay_s)
    cut(streams)


def open_stream(url: str, path: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    stream = socket.create_connection((host, int(port)))
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    return stream


def cut(streams: Sequence[socket.socket]) -> None:
    """Resets the connections, as when a client's machine fails."""
    for stream in streams:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
