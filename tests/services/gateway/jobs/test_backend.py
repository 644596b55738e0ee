"""Monitoring of queues and blob store, and the gateway's behaviour while Redis or the store is unreachable."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code
from sightline.jobs.job import Priority
from sightline.jobs.settings import JobSettings
from tests.redis_server import DURABLE, EMBEDDED, RedisServer, running_redis
from tests.services.gateway.conftest import Eventually, MakeService, ManualWorker, OpenGateway, Server, Start

LATER = {"Prefer": "respond-async", "Content-Type": "text/plain"}


def metric(gateway: Server, line: str) -> float | None:
    lines = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
    return next((float(found.rpartition(" ")[2]) for found in lines if found.startswith(f"{line} ")), None)


def gauge(name: str, priority: Priority) -> str:
    return f'sightline_jobs_{name}{{model="echo",priority="{priority}"}}'


def test_metrics_and_capacity_show_depth_and_age_of_queues(
    job_gateway: Server, worker: ManualWorker, eventually: Eventually
) -> None:
    for number, priority in enumerate(("bulk", "bulk", "interactive")):
        headers = {**LATER, "X-Sightline-Priority": priority}
        httpx2.post(f"{job_gateway.url}/v1/echo", content=bytes([number]), headers=headers)
    eventually(lambda: metric(job_gateway, gauge("waiting", Priority.BULK)) == 2)
    eventually(lambda: metric(job_gateway, gauge("waiting", Priority.INTERACTIVE)) == 1)
    worker.heartbeat()
    lease = worker.take()
    eventually(lambda: metric(job_gateway, gauge("running", Priority.INTERACTIVE)) == 1)
    assert metric(job_gateway, "sightline_redis_up") == 1
    assert (metric(job_gateway, "sightline_redis_used_bytes") or 0) > 100_000
    assert metric(job_gateway, gauge("dead", Priority.BULK)) == 0
    assert metric(job_gateway, gauge("retrying", Priority.BULK)) == 0
    eventually(lambda: (metric(job_gateway, gauge("oldest_age_seconds", Priority.BULK)) or 0) > 0)
    worker.finish(lease, {"image/png": b"done"})
    # The counts are those of the Redis, which has been emptied before.
    events = 'sightline_jobs_events_total{event="succeeded",model="echo",priority="interactive"}'
    eventually(lambda: metric(job_gateway, events) == 1)

    def queue() -> dict[str, float]:
        (model,) = httpx2.get(f"{job_gateway.url}/v1/capacity").json()["models"]
        found: dict[str, float] = model["queue"]
        return found

    eventually(lambda: (queue()["waiting"], queue()["slots"]) == (2, 1) and queue()["eta_s"] is not None)


def test_limit_of_a_caller_holds_for_all_its_jobs(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    worker: ManualWorker,
    png: bytes,
) -> None:
    keys = {"desk": {"sha256": hashlib.sha256(b"desk").hexdigest(), "max_running": 1}}
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=keys)
    for number in range(2):
        headers = {**LATER, "X-Api-Key": "desk"}
        assert httpx2.post(f"{gateway.url}/v1/echo", content=bytes([number]), headers=headers).status_code == 202
    first = worker.take()
    assert worker.idle()
    worker.finish(first, {"image/png": b"done"})
    assert worker.take().job.id != first.job.id


@pytest.fixture
def frail_redis() -> Iterator[RedisServer]:
    with running_redis(EMBEDDED, *DURABLE) as server:
        yield server


def test_limits_are_restored_after_redis_lost_its_data(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    frail_redis: RedisServer,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    jobs = JobSettings(redis_url=frail_redis.url, blobs_url=f"file://{tmp_path}/blobs")
    keys = {"desk": {"sha256": "0" * 64, "max_running": 1}, "free": {"sha256": "1" * 64}}
    open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=keys)
    with frail_redis.client() as client:
        eventually(lambda: client.hgetall("sightline:limits") == {"desk": "1"})
        client.flushall()
        eventually(lambda: client.hgetall("sightline:limits") == {"desk": "1"})


def test_small_requests_are_served_while_redis_is_unreachable(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    frail_redis: RedisServer,
    tmp_path: Path,
    png: bytes,
    eventually: Eventually,
) -> None:
    jobs = JobSettings(redis_url=frail_redis.url, blobs_url=f"file://{tmp_path}/blobs")
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs)
    path = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER).headers["location"]
    eventually(lambda: metric(gateway, gauge("waiting", Priority.INTERACTIVE)) == 1)
    frail_redis.kill()
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png).content == png
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 200
    for reply in (
        httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER),
        httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={"Idempotency-Key": "k"}),
        httpx2.get(gateway.url + path),
        httpx2.get(f"{gateway.url}{path}/result"),
        httpx2.get(f"{gateway.url}{path}/events"),
        httpx2.get(f"{gateway.url}/v1/jobs"),
        httpx2.delete(gateway.url + path),
    ):
        assert (reply.status_code, reply.json()["code"]) == (503, Code.QUEUE_UNAVAILABLE)
        assert int(reply.headers["retry-after"]) > 0
    eventually(lambda: metric(gateway, gauge("waiting", Priority.INTERACTIVE)) is None)
    assert metric(gateway, "sightline_redis_up") == 0
    assert httpx2.get(f"{gateway.url}/v1/capacity").json()["models"][0]["queue"] is None
    frail_redis.start()
    assert httpx2.get(gateway.url + path).json()["state"] == "queued"
    eventually(lambda: metric(gateway, gauge("waiting", Priority.INTERACTIVE)) == 1)


def fill(redis: RedisServer) -> None:
    with redis.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)


def make_replica(redis: RedisServer) -> None:
    with redis.client() as client:
        client.replicaof("127.0.0.1", 1)


@pytest.mark.parametrize("refuse", [fill, make_replica])
def test_read_only_redis_is_reported(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    frail_redis: RedisServer,
    tmp_path: Path,
    png: bytes,
    eventually: Eventually,
    refuse: Callable[[RedisServer], None],
) -> None:
    jobs = JobSettings(redis_url=frail_redis.url, blobs_url=f"file://{tmp_path}/blobs")
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs)
    eventually(lambda: metric(gateway, "sightline_queue_accepts_jobs") == 1)
    assert httpx2.get(f"{gateway.url}/readyz").json()["accepts_jobs"]

    refuse(frail_redis)

    eventually(lambda: metric(gateway, "sightline_queue_accepts_jobs") == 0)
    assert metric(gateway, "sightline_redis_up") == 1
    reply = httpx2.get(f"{gateway.url}/readyz")
    assert (reply.status_code, reply.json()["accepts_jobs"]) == (200, False)
    assert "queue" in reply.json()["jobs_detail"]
    refused = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER)
    assert (refused.status_code, refused.json()["code"]) == (503, Code.QUEUE_UNAVAILABLE)


def test_unwritable_blob_store_is_reported(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    frail_redis: RedisServer,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    jobs = JobSettings(redis_url=frail_redis.url, blobs_url=f"file://{tmp_path}/blobs")
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, store_probe_interval_s=0.05)
    httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers=LATER)
    eventually(lambda: metric(gateway, "sightline_queue_accepts_jobs") == 1)
    (tmp_path / "blobs").rename(tmp_path / "unmounted")
    (tmp_path / "blobs").mkdir()
    eventually(lambda: metric(gateway, "sightline_blob_store_up") == 0)
    assert metric(gateway, "sightline_queue_accepts_jobs") == 0
    assert "store" in httpx2.get(f"{gateway.url}/readyz").json()["jobs_detail"]
    (tmp_path / "blobs").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "blobs")
    eventually(lambda: metric(gateway, "sightline_queue_accepts_jobs") == 1)
    assert abs(metric(gateway, "sightline_redis_clock_skew_seconds") or 0) < 5


def test_events_end_without_redis_and_resume_with_it(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, frail_redis: RedisServer, tmp_path: Path
) -> None:
    jobs = JobSettings(redis_url=frail_redis.url, blobs_url=f"file://{tmp_path}/blobs")
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs)
    path = httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers=LATER).headers["location"]
    with httpx2.stream("GET", f"{gateway.url}{path}/events", timeout=30) as reply:
        pieces, text = reply.iter_text(), ""
        while "event: queued" not in text:
            text += next(pieces)
        frail_redis.kill()
        assert "event:" not in "".join(pieces)
    frail_redis.start()
    last = next(line.removeprefix("id: ") for line in text.splitlines() if line.startswith("id: "))
    httpx2.delete(gateway.url + path)
    rest = httpx2.get(f"{gateway.url}{path}/events", headers={"Last-Event-ID": last}, timeout=30).text
    assert rest.count("event: ") == rest.count("event: cancelled") == 1


def test_full_blob_store_is_reported(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings, blobs: Path
) -> None:
    small = jobs.model_copy(update={"max_stored_bytes": 1000})
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=small)
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=bytes(1001), headers=LATER)
    assert (reply.status_code, reply.json()["code"]) == (503, Code.STORAGE_UNAVAILABLE)
    assert int(reply.headers["retry-after"]) > 0
    assert not any((blobs / "incoming").iterdir())
    assert httpx2.post(f"{gateway.url}/v1/echo", content=bytes(1000), headers=LATER).status_code == 202


@pytest.mark.anyio
async def test_start_fails_without_a_blob_store(redis_server: RedisServer) -> None:
    app = create_app(GatewaySettings(), jobs=JobSettings(redis_url=redis_server.url))
    with pytest.raises(ValueError, match="SIGHTLINE_BLOBS_URL"):
        async with app.router.lifespan_context(app):
            pass
