"""The port of a gateway that is stopped or killed under its supervisor: clients may wait, and none is turned away."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import httpx2
import psutil
import pytest

from sightline.cli.fleet import listen_on, open_listener, serve_command
from sightline.cli.supervisor import Program, ProgramExit, RestartPolicy, supervised

LIMIT_S = 60.0
HOST = "127.0.0.1"

pytestmark = pytest.mark.anyio


async def pid_serving(url: str) -> int:
    """Of the one gateway among the children, as soon as it answers."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                async with httpx2.AsyncClient() as client:
                    await client.get(f"{url}/livez", timeout=5)
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
            else:
                return max(child.pid for child in psutil.Process().children())


async def knock_until(done: asyncio.Event, url: str) -> list[int]:
    """Opens a connection every now and then, 0 for one that was cut; raises where one is refused."""
    statuses = []
    while not done.is_set():
        async with httpx2.AsyncClient() as client:
            try:
                statuses.append((await client.get(f"{url}/livez", timeout=LIMIT_S)).status_code)
            except (httpx2.ReadError, httpx2.RemoteProtocolError):
                statuses.append(0)
        await asyncio.sleep(0.02)
    return statuses


async def begin_an_upload(port: int) -> asyncio.StreamWriter:
    """A request that does not end by itself: the gateway that has it takes its time to stop."""
    _, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"POST /v1/webhooks/test HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Length: 1000\r\n\r\n{{".encode())
    await writer.drain()
    return writer


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
async def test_no_connection_is_refused_during_a_restart(tmp_path: Path, sent: signal.Signals) -> None:
    endings: list[ProgramExit] = []
    with open_listener(HOST, 0) as listener:
        port = listener.getsockname()[1]
        url = f"http://{HOST}:{port}"
        environment = {"SIGHTLINE_UPSTREAMS": '{"echo": ["http://127.0.0.1:9"]}', "SIGHTLINE_DRAIN_S": "4"}
        program = Program(
            "gateway", serve_command("gateway"), environment | listen_on(HOST, port), tmp_path / "log", listener
        )
        async with supervised(program, policy=RestartPolicy(first_wait_s=0.1), notify=endings.append):
            first, done = await pid_serving(url), asyncio.Event()
            uploading = await begin_an_upload(port)
            knocking = asyncio.create_task(knock_until(done, url))
            await asyncio.sleep(0.2)
            os.kill(first, sent)
            async with asyncio.timeout(LIMIT_S):
                while psutil.pid_exists(first) or await pid_serving(url) == first:
                    await asyncio.sleep(0.1)
            done.set()
            statuses = await knocking
            uploading.close()
    # What a killed process was just answering is lost.
    assert statuses.count(0) <= (1 if sent is signal.SIGKILL else 0)
    assert set(statuses) <= {200, 0}
    assert [ending.code for ending in endings] == ([-signal.SIGKILL] if sent is signal.SIGKILL else [])


async def test_the_port_is_closed_at_the_end(tmp_path: Path) -> None:
    with open_listener(HOST, 0) as listener:
        port = listener.getsockname()[1]
        program = Program("gateway", serve_command("gateway"), listen_on(HOST, port), tmp_path / "log", listener)
        async with supervised(program, policy=RestartPolicy(), notify=lambda _: None):
            await pid_serving(f"http://{HOST}:{port}")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
