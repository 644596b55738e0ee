"""A closed-loop load generator: `python -m sightline.cli.load_generator < job.json > report.json`.

It runs in a separate process, so that its work does not slow the measured loop.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from pydantic import BaseModel

TIMEOUT_S = 600.0


class LoadTestJob(BaseModel):
    """Load to generate: `requests` in total over kept-alive connections, each with one request at a time."""

    url: str
    pictures: dict[str, Path]
    headers: dict[str, str] = {}
    connections: int
    requests: int


class LoadTestReport(BaseModel):
    """Measured latencies; `failures` counts failed requests by status code, 0 for a broken connection."""

    elapsed_s: float
    latencies_s: list[float]
    failures: dict[int, int]


class _Tally:
    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failures: dict[int, int] = {}

    def fail(self, status: int) -> None:
        self.failures[status] = self.failures.get(status, 0) + 1


async def run_load(job: LoadTestJob) -> LoadTestReport:
    form = httpx2.Request("POST", job.url, files={name: path.read_bytes() for name, path in job.pictures.items()})
    body, headers = form.read(), {**job.headers, "Content-Type": form.headers["Content-Type"]}
    remaining, tally = iter(range(job.requests)), _Tally()
    connector = TCPConnector(limit=job.connections)
    async with ClientSession(connector=connector, timeout=ClientTimeout(TIMEOUT_S), headers=headers) as session:
        started_at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(job.connections):
                group.create_task(_send(session, job.url, body, remaining, tally))
        elapsed_s = time.perf_counter() - started_at
    return LoadTestReport(elapsed_s=elapsed_s, latencies_s=tally.latencies_s, failures=tally.failures)


async def _send(session: ClientSession, url: str, body: bytes, remaining: Iterator[int], tally: _Tally) -> None:
    for _ in remaining:
        started_at = time.perf_counter()
        try:
            async with session.post(url, data=body, allow_redirects=False) as reply:
                await reply.read()
                status = reply.status
        except ClientError:
            status = 0
        if status == httpx2.codes.OK:
            tally.latencies_s.append(time.perf_counter() - started_at)
        else:
            tally.fail(status)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(run_load(LoadTestJob.model_validate_json(sys.stdin.read()))).model_dump_json())
