"""A closed-loop load generator: `python -m sightline.cli.load_generator < job.json > report.json`.

It runs in a separate process, so that its work does not slow the measured loop. It sends its requests with the client
that users import, so the measured rates include the client's work: 2 to 5 ms of processor time for each request, for
which screening needs 160 ms and exposure correction 220 ms on a CPU. One process sends about 1000 photos of 210 kB per
second to a server that does nothing, where aiohttp's client would send 4000; `bench` says when the generator is the
limit.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

from sightline.client import AsyncClient, SightlineError

TIMEOUT_S = 600.0


class LoadTestJob(BaseModel):
    """Load to generate: `requests` in total over kept-alive connections, each with one request at a time.

    url: of the server; accept: the media type of the replies.
    """

    url: str
    model: str
    accept: str
    pictures: dict[str, Path]
    api_key: str | None = Field(default=None, repr=False)
    connections: int
    requests: int


class LoadTestReport(BaseModel):
    """Measured latencies; `failures` counts failed requests by status code, 0 for a broken connection.

    cpu_s: processor time of the generator, which has one thread: if it comes close to `elapsed_s`, the generator limits
    the load.
    """

    elapsed_s: float
    cpu_s: float
    latencies_s: list[float]
    failures: dict[int, int]


class _Tally:
    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failures: dict[int, int] = {}

    def fail(self, status: int) -> None:
        self.failures[status] = self.failures.get(status, 0) + 1


async def run_load(job: LoadTestJob) -> LoadTestReport:
    pictures = {name: path.read_bytes() for name, path in job.pictures.items()}
    remaining, tally = iter(range(job.requests)), _Tally()
    async with AsyncClient(
        job.url, api_key=job.api_key, timeout_s=TIMEOUT_S, retry_s=0, max_connections=job.connections
    ) as client:
        started_at, cpu_started_at = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(job.connections):
                group.create_task(_send(client, job, pictures, remaining, tally))
        elapsed_s, cpu_s = time.perf_counter() - started_at, time.process_time() - cpu_started_at
    return LoadTestReport(elapsed_s=elapsed_s, cpu_s=cpu_s, latencies_s=tally.latencies_s, failures=tally.failures)


async def _send(
    client: AsyncClient, job: LoadTestJob, pictures: dict[str, bytes], remaining: Iterator[int], tally: _Tally
) -> None:
    for _ in remaining:
        started_at = time.perf_counter()
        try:
            await client.predict(job.model, pictures, accept=job.accept)
        except SightlineError as error:
            tally.fail(error.status or 0)
        else:
            tally.latencies_s.append(time.perf_counter() - started_at)


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(run_load(LoadTestJob.model_validate_json(sys.stdin.read()))).model_dump_json())
