"""Every accepted job ends exactly once with its own right result, whatever is killed meanwhile."""

import asyncio
import os
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.stack.chaos import Chaos, fleet_of_two_replicas, persist
from tests.stack.crops import Task, make_tasks, spread

JOBS = int(os.environ.get("CHAOS_JOBS", "1000"))
KILL_INTERVAL_S = 2.0
LIMIT_S = 1800.0
LIVE = Counter(dict.fromkeys(("queued", "running", "retrying"), JOBS))
VICTIMS = ("gateway", "inpaint", "redis", "gateway", "inpaint-2", "redis")
SETTINGS = {
    # Short leases, and patience: here a job is caught again and again by kills that are no fault of its own.
    "SIGHTLINE_LEASE_S": "5",
    "SIGHTLINE_MAX_LOST_LEASES": "50",
    "SIGHTLINE_MAX_ATTEMPTS": "100",
    # What a service has to warm up before it is ready.
    "SIGHTLINE_MAX_BATCH": "1",
}


@dataclass(frozen=True, slots=True)
class Client:
    """Does what a user's script would, in spite of everything."""

    http: httpx2.AsyncClient
    ids: dict[int, set[str]]

    async def submit(self, task: Task) -> None:
        """Send a task with its key until it is accepted, and remember every id that was told."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": f"task-{task.number}"}
        files = {"image": task.photo_png, "mask": task.mask_png}
        while True:
            reply = await self.persist(lambda: self.http.post("/v1/inpaint", headers=headers, files=files))
            # A key is held for some seconds for an upload whose connection died with the gateway.
            if reply.status_code != httpx2.codes.CONFLICT:
                break
            await asyncio.sleep(1)
        assert reply.status_code == httpx2.codes.ACCEPTED, reply.text
        self.ids.setdefault(task.number, set()).add(reply.json()["id"])

    async def check(self, task: Task) -> None:
        (job_id,) = self.ids[task.number]
        task.check(await self.persist(lambda: self.http.get(f"/v1/jobs/{job_id}/result")))
        events = await self.persist(lambda: self.http.get(f"/v1/jobs/{job_id}/events"))
        assert events.text.count("event: succeeded") == 1, events.text

    async def jobs(self) -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = []
        address: str | None = "/v1/jobs?limit=100"
        while address:
            page = (await self.persist(partial(self.http.get, address))).json()
            jobs += page["jobs"]
            address = page["next"]
        return jobs

    async def until_all_ended(self) -> None:
        give_up_at = time.monotonic() + LIMIT_S
        while live := Counter(job["state"] for job in await self.jobs()) & LIVE:
            assert time.monotonic() < give_up_at, f"jobs did not end: {live}"
            await asyncio.sleep(2)

    async def persist(self, ask: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
        return await persist(ask, limit_s=LIMIT_S)


def report(chaos: Chaos, jobs: Iterable[dict[str, Any]], accepted_s: float, ended_s: float) -> None:
    states = Counter(job["state"] for job in jobs)
    attempts = Counter(job["attempts"] for job in jobs)
    print(f"{JOBS} jobs accepted in {accepted_s:.0f} s, ended in {ended_s:.0f} s; kills {dict(chaos.kills)}")
    print(f"states {dict(states)}; attempts {dict(sorted(attempts.items()))}")


@pytest.mark.stack
@pytest.mark.anyio
async def test_jobs_survive_a_kill_every_two_seconds(tmp_path: Path) -> None:
    tasks = make_tasks(JOBS)
    with tempfile.TemporaryDirectory(prefix="chaos-") as short:
        async with (
            fleet_of_two_replicas(tmp_path, Path(short) / "redis.sock", SETTINGS) as address,
            httpx2.AsyncClient(base_url=address, timeout=60, trust_env=False) as http,
        ):
            client, chaos = Client(http, {}), Chaos(VICTIMS, KILL_INTERVAL_S)
            killing, started = asyncio.create_task(chaos.run()), time.monotonic()
            await spread(tasks, client.submit)
            accepted_s = time.monotonic() - started
            await client.until_all_ended()
            ended_s = time.monotonic() - started
            killing.cancel()
            jobs = await client.jobs()
            report(chaos, jobs, accepted_s, ended_s)
            assert all(chaos.kills[victim] for victim in VICTIMS)
            assert [len(ids) for ids in client.ids.values()] == [1] * JOBS
            assert sorted(job["id"] for job in jobs) == sorted(chain.from_iterable(client.ids.values()))
            assert {job["state"] for job in jobs} == {"succeeded"}
            await spread(tasks, client.check)
