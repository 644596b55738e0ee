"""The core of the queue is tested on every Redis there is: the embedded one and the system's."""

import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio

from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.inspector import QueueInspector
from sightline.jobs.job import BlobRef, JobReason, Lease, Outcome, Priority, Representation, StoredRequest, Submission
from sightline.jobs.leases import Leases
from sightline.jobs.local_blob_store import IDENTITY, LocalBlobStore
from sightline.jobs.maintenance import QueueMaintenance
from sightline.jobs.queue import DeadLetters, JobQueue
from sightline.jobs.settings import JobSettings
from tests.redis_server import EXECUTABLES, RedisServer, running_redis

MODEL, OWNER, WORKER = "inpaint", "ada", "worker-1"
WEIGHTS = "w" * 64
LEASE_S = 4.0
PROBLEM = {"code": "internal", "status": 500, "detail": "It broke."}

_numbers = itertools.count(1)


def blob(content: str) -> BlobRef:
    return BlobRef(hashlib.sha256(content.encode()).hexdigest(), len(content))


def submission(
    job_id: str | None = None,
    *,
    owner: str = OWNER,
    priority: Priority = Priority.INTERACTIVE,
    content: str | None = None,
    **more: object,
) -> Submission:
    job_id = job_id or f"job-{next(_numbers)}"
    body = blob(content or job_id)
    request = StoredRequest("/v1/inpaint", "format=png", "image/png", None, body)
    fields = {"reason": JobReason.ASKED, "request_id": f"request-of-{job_id}", "fingerprint": body.sha256, **more}
    return Submission(id=job_id, model=MODEL, owner=owner, priority=priority, request=request, **fields)  # type: ignore[arg-type]


def outcome(content: str = "result", model_sha256: str = WEIGHTS) -> Outcome:
    headers = {"X-Sightline-Model": "inpaint@1"}
    return Outcome((Representation("image/png", blob(content), headers),), model_sha256, {"infer": 12.5})


@dataclass(frozen=True, slots=True)
class Bench:
    """All sides of one queue, and its Redis to look into."""

    redis: redis.asyncio.Redis
    settings: JobSettings

    @property
    def queue(self) -> JobQueue:
        return JobQueue(self.redis, self.settings)

    @property
    def leases(self) -> Leases:
        return Leases(self.redis, self.settings)

    @property
    def maintenance(self) -> QueueMaintenance:
        return QueueMaintenance(self.redis, self.settings)

    @property
    def references(self) -> BlobReferences:
        return BlobReferences(self.redis, self.settings)

    @property
    def dead_letters(self) -> DeadLetters:
        return DeadLetters(self.redis, self.settings)

    @property
    def inspector(self) -> QueueInspector:
        return QueueInspector(self.redis, self.settings)

    async def take(self, worker: str = WORKER) -> Lease:
        lease = await self.leases.take(MODEL, worker=worker)
        assert lease is not None, "there is nothing to take"
        return lease

    async def let_come(self, times: str) -> None:
        """Sets all times of a sorted set to long ago, as if they had come."""
        name = self.settings.redis_prefix + times
        for member in await self.redis.zrange(name, 0, -1):
            await self.redis.zadd(name, {str(member): 1.0})

    async def let_leases_run_out(self) -> int:
        """As if every worker had been silent for a lease."""
        for priority in Priority:
            await self.let_come(f"leases:{MODEL}:{priority}")
        return await self.maintenance.recover(MODEL)


OpenBench = Callable[..., Bench]


@pytest.fixture(scope="session", params=EXECUTABLES, ids=["embedded", "system"][: len(EXECUTABLES)])
def any_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with running_redis(request.param) as server:
        # For some time after its start, Redis lets nobody lose a lease.
        with server.client() as client:
            while client.info("server")["uptime_in_seconds"] < LEASE_S / 2:
                time.sleep(0.05)
        yield server


@pytest.fixture
async def open_bench(any_redis: RedisServer) -> AsyncIterator[OpenBench]:
    """A queue on an empty Redis; settings by name."""
    with any_redis.client() as client:
        client.flushall()
    async with connect(any_redis.url) as redis:
        yield lambda **settings: Bench(redis, JobSettings(redis_url=any_redis.url, **{"lease_s": LEASE_S, **settings}))


@pytest.fixture
def bench(open_bench: OpenBench) -> Bench:
    return open_bench()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def on_disk(folder: Path) -> BlobStore:
    return BlobStore(LocalBlobStore(folder))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != IDENTITY]
