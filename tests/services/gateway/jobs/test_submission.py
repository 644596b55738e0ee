"""Requests that become jobs, from the POST to its reply."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sightline.api.evidence import ModelIdentity
from sightline.api.problems import Code, Problem
from sightline.jobs.settings import JobSettings
from tests.redis_server import RedisServer
from tests.services.gateway.conftest import (
    Eventually,
    MakeService,
    ManualWorker,
    OpenGateway,
    Server,
    Start,
    encode_png,
)

LATER = {"Prefer": "respond-async"}


def _uploading(blobs: Path) -> bool:
    return any((blobs / "incoming").glob("*"))


@pytest.fixture
def send(job_gateway: Server) -> Iterator["Send"]:
    with ThreadPoolExecutor() as pool, httpx2.Client(timeout=30) as client:
        yield Send(job_gateway.url, client, pool)


class Send:
    """A client that posts to the model's route."""

    def __init__(self, url: str, client: httpx2.Client, pool: ThreadPoolExecutor) -> None:
        self.url, self._client, self._pool = url, client, pool

    def __call__(self, content: Any = None, headers: dict[str, str] | None = None, **more: Any) -> httpx2.Response:
        return self._client.post(f"{self.url}/v1/echo", content=content, headers=headers, **more)

    def aside(self, content: Any = None, headers: dict[str, str] | None = None) -> "Future[httpx2.Response]":
        return self._pool.submit(self, content, headers)

    def counted(self, outcome: str) -> float:
        name = f'sightline_gateway_jobs_total{{model="echo",outcome="{outcome}",reason="asked"}} '
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        return self._client.get(self.url + path, headers=headers)


def test_small_request_is_synchronous(send: Send, png: bytes) -> None:
    reply = send(png)
    assert (reply.status_code, reply.content) == (200, png)
    assert "x-sightline-job" not in reply.headers


def test_respond_async_becomes_a_job(send: Send, worker: ManualWorker, png: bytes) -> None:
    reply = send(png, {**LATER, "Accept": "image/webp", "Content-Type": "image/png", "X-Request-Id": "mine"})
    body = reply.json()
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/jobs/{body['id']}" == body["links"]["self"]
    assert reply.headers["x-sightline-job"] == body["id"]
    assert reply.headers["preference-applied"] == "respond-async"
    assert int(reply.headers["retry-after"]) > 0
    assert (body["state"], body["reason"], body["position"]) == ("queued", "asked", 1)
    assert body["detail"].endswith(".")
    job = worker.take().job
    assert (job.id, job.owner, job.request_id) == (body["id"], "public", "mine")
    assert (job.request.path, job.request.content_type, job.request.accept) == ("/v1/echo", "image/png", "image/webp")
    assert worker.body(job) == png


@pytest.mark.parametrize("form", [False, True], ids=["bare", "form"])
def test_large_picture_becomes_a_job(send: Send, worker: ManualWorker, *, form: bool) -> None:
    picture = encode_png(65, 32)
    reply = send(files={"image": picture}) if form else send(picture)
    assert (reply.status_code, reply.json()["reason"]) == (202, "pixels")
    assert "preference-applied" not in reply.headers
    assert picture in worker.body(worker.take().job)


def test_large_declared_body_becomes_a_job(send: Send, worker: ManualWorker, png: bytes) -> None:
    reply = send(png + bytes(300_000))
    assert (reply.status_code, reply.json()["reason"]) == (202, "bytes")
    assert worker.body(worker.take().job) == png + bytes(300_000)


def test_large_body_without_declared_length_is_refused(send: Send) -> None:
    too_large = send(bytes(2_000_001), LATER)
    assert (too_large.status_code, too_large.json()["limit_bytes"]) == (413, 2_000_000)
    text = {"Content-Type": "text/plain"}
    unannounced = send(iter([bytes(150_000)] * 2), text)
    assert (unannounced.status_code, unannounced.json()["limit_bytes"]) == (413, 200_000)
    assert "Prefer" in unannounced.json()["detail"]
    assert send(iter([bytes(150_000)] * 2), {**text, **LATER}).status_code == 202
    elsewhere = httpx2.post(f"{send.url}/v2/repository/index", content=bytes(200_001))
    assert (elsewhere.status_code, elsewhere.json()["limit_bytes"]) == (413, 65_536)


def test_pictures_of_jobs_are_checked_by_their_headers(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings, png: bytes
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, max_pixels=64 * 32)
    for picture, code in ((encode_png(65, 32), Code.TOO_MANY_PIXELS), (b"neither this nor that", "unsupported_format")):
        reply = httpx2.post(f"{gateway.url}/v1/echo", content=picture, headers=LATER)
        assert reply.json()["code"] == code
    for when in ({}, LATER):
        packed = {"Content-Type": "image/png", **when, "Content-Encoding": "gzip"}
        reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=packed)
        assert (reply.status_code, "'gzip'" in reply.json()["detail"]) == (415, True)
    assert httpx2.get(f"{gateway.url}/v1/jobs").json() == {"jobs": [], "next": None}


def test_job_is_accepted_for_a_model_that_is_not_ready(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings, png: bytes
) -> None:
    service = start(make_service())
    service.stop()
    gateway = open_gateway({"echo": [service.url]}, jobs=jobs, wait=False)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER).status_code == 202
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png).json()["code"] == Code.NOT_READY
    assert httpx2.post(f"{gateway.url}/v1/other", content=png, headers=LATER).status_code == 404


@pytest.mark.parametrize("prefer", ["wait=30", "respond-async, wait=30"])
def test_wait_replies_with_the_result(send: Send, worker: ManualWorker, png: bytes, prefer: str) -> None:
    waiting = send.aside(png, {"Prefer": prefer})
    lease = worker.take()
    worker.finish(lease, {"image/png": b"done"})
    reply = waiting.result()
    assert (reply.status_code, reply.content) == (200, b"done")
    assert reply.headers["content-type"] == "image/png"
    assert reply.headers["x-sightline-job"] == lease.job.id
    assert reply.headers["x-sightline-model"] == "echo@1+abc"
    assert reply.headers["preference-applied"] == "wait=30"


def test_expired_wait_replies_with_the_job(send: Send, png: bytes) -> None:
    reply = send(png, {"Prefer": "wait=1"})
    assert (reply.status_code, reply.json()["state"]) == (202, "queued")
    assert reply.headers["preference-applied"] == "wait=1"


def test_wait_is_capped_at_its_maximum(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings, png: bytes
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, max_wait_s=1)
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={"Prefer": "wait=500"}, timeout=30)
    assert (reply.status_code, reply.headers["preference-applied"]) == (202, "wait=1")


def test_wait_for_a_failing_job_replies_with_its_problem(send: Send, worker: ManualWorker, png: bytes) -> None:
    waiting = send.aside(png, {"Prefer": "wait=30"})
    worker.fail(worker.take(), Problem(Code.BAD_MASK, "The mask is empty.", field="mask"))
    reply = waiting.result()
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")
    assert (reply.json()["code"], reply.json()["detail"]) == ("bad_mask", "The mask is empty.")
    assert (reply.json()["field"], reply.json()["request_id"]) == ("mask", reply.headers["x-request-id"])


def test_disconnect_during_the_wait_leaves_the_job(
    send: Send, job_gateway: Server, worker: ManualWorker, eventually: Eventually
) -> None:
    head = (
        b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
        b"Prefer: wait=30\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n"
    )
    with socket.create_connection(job_gateway.address) as client:
        client.sendall(head + b"hi")
        lease = worker.take()
    eventually(lambda: send.get("/v1/capacity").json()["in_flight"] == 0)
    worker.finish(lease, {"image/png": b"done"})
    assert send.get(f"/v1/jobs/{lease.job.id}/result").content == b"done"


def test_disconnect_during_upload_leaves_no_job_and_no_blob(
    send: Send, job_gateway: Server, blobs: Path, eventually: Eventually
) -> None:
    head = (
        b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
        b"Prefer: respond-async\r\nIdempotency-Key: k\r\nContent-Length: 99999\r\n"
    )
    with socket.create_connection(job_gateway.address) as client:
        client.sendall(head + b"Content-Type: text/plain\r\n\r\n" + bytes(5000))
        eventually(lambda: _uploading(blobs))
    eventually(lambda: not _uploading(blobs))
    eventually(lambda: send.get("/v1/capacity").json()["in_flight"] == 0)
    assert send.get("/v1/jobs").json()["jobs"] == []
    assert send(b"12345678901234567890", {**LATER, "Idempotency-Key": "k", "Content-Type": "a/b"}).status_code == 202


def test_bodies_of_jobs_do_not_count_as_bytes_in_flight(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    blobs: Path,
    eventually: Eventually,
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, max_inflight_bytes=10_000, sync_pixels=9)
    noise = encode_png(64, 64)
    assert len(noise) < 10_000 < len(noise + bytes(9_000))

    def slow() -> Iterator[bytes]:
        yield noise
        eventually(lambda: _uploading(blobs))
        yield bytes(9_000)

    asked = httpx2.post(f"{gateway.url}/v1/echo", content=noise + bytes(9_000), headers=LATER)
    large = httpx2.post(f"{gateway.url}/v1/echo", content=slow())
    assert (asked.status_code, large.status_code) == (202, 202)
    assert httpx2.get(f"{gateway.url}/v1/capacity").json()["in_flight_bytes"] == 0


def test_same_key_and_request_is_the_same_job(send: Send, worker: ManualWorker, png: bytes) -> None:
    headers = {**LATER, "Idempotency-Key": '"once"'}
    before = send.counted("submitted"), send.counted("joined")
    first = send(files={"image": ("a.png", png)}, headers=headers)
    second = send(files={"image": ("a.png", png)}, headers=headers)
    assert first.request.headers["content-type"] != second.request.headers["content-type"]
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert len(send.get("/v1/jobs").json()["jobs"]) == 1
    worker.finish(worker.take(), {"image/png": b"done"})
    third = send(files={"image": ("a.png", png)}, headers={"Idempotency-Key": "once"})
    assert (third.status_code, third.content) == (200, b"done")
    assert (send.counted("submitted"), send.counted("joined")) == (before[0] + 1, before[1] + 1)


def test_same_key_with_another_request_is_refused(send: Send, png: bytes) -> None:
    assert send(png, {**LATER, "Idempotency-Key": "k"}).status_code == 202
    for other in (
        send(png + b"!", {**LATER, "Idempotency-Key": "k"}),
        send(png, {"Idempotency-Key": "k", "Accept": "a/b"}),
    ):
        assert (other.status_code, other.json()["code"]) == (422, Code.KEY_REUSED)


def test_key_alone_waits_and_refuses_a_concurrent_request(send: Send, worker: ManualWorker, png: bytes) -> None:
    waiting = send.aside(png, {"Idempotency-Key": "k"})
    lease = worker.take()
    second = send(png, {"Idempotency-Key": "k"})
    assert (second.status_code, second.json()["code"]) == (409, Code.KEY_IN_USE)
    assert second.headers["location"] == f"/v1/jobs/{lease.job.id}"
    assert int(second.headers["retry-after"]) > 0
    joined = send(png, {**LATER, "Idempotency-Key": "k"})
    assert (joined.status_code, joined.json()["id"]) == (202, lease.job.id)
    worker.finish(lease, {"image/png": b"done"})
    assert waiting.result().content == b"done"
    assert waiting.result().headers["x-sightline-job"] == lease.job.id


def test_key_does_not_make_a_large_request_wait(send: Send) -> None:
    picture = encode_png(65, 32)
    first, second = (send(picture, {"Idempotency-Key": "k"}) for _ in range(2))
    assert [first.status_code, second.status_code] == [202, 202]
    assert first.json()["reason"] == "pixels"
    assert first.json()["id"] == second.json()["id"]


def test_key_with_a_passed_deadline_replies_with_the_job(send: Send, png: bytes) -> None:
    reply = send(png, {"Idempotency-Key": "k", "X-Sightline-Deadline-Ms": "300"})
    assert (reply.status_code, reply.json()["reason"], reply.json()["state"]) == (202, "idempotency_key", "queued")


def test_key_is_held_during_the_upload(send: Send, blobs: Path, eventually: Eventually) -> None:
    go_on = threading.Event()

    def slow() -> Iterator[bytes]:
        yield bytes(1000)
        go_on.wait(20)
        yield bytes(1000)

    headers = {**LATER, "Idempotency-Key": "k", "Content-Type": "text/plain"}
    first = send.aside(slow(), headers)
    eventually(lambda: _uploading(blobs))
    second = send(bytes(2000), headers)
    go_on.set()
    assert (second.status_code, second.json()["code"]) == (409, Code.KEY_IN_USE)
    assert first.result().status_code == 202
    assert send(bytes(2000), headers).json()["id"] == first.result().json()["id"]


@pytest.mark.parametrize("key", ["", "a b", '"a', "x" * 256])
def test_malformed_key_is_refused(send: Send, png: bytes, key: str) -> None:
    assert send(png, {"Idempotency-Key": key}).json()["code"] == Code.INVALID_REQUEST


def test_identical_request_to_the_same_model_is_cached(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    worker: ManualWorker,
    png: bytes,
    blobs: Path,
) -> None:
    reported: dict[str, Any] = {"version": "1.0.0", "weights_sha256": "ab" * 32, "contract": "shipped"}
    older = {**reported, "version": "0.9.0"}

    async def readiness(_: Request) -> Response:
        return JSONResponse(reported)

    gateway = open_gateway({"echo": [start(make_service(readiness=readiness)).url]}, jobs=jobs, sync_pixels=9)
    first = httpx2.post(f"{gateway.url}/v1/echo", content=png)
    worker.finish(worker.take(), {"image/png": b"done"}, model_sha256=ModelIdentity(name="echo", **reported).sha256)
    second = httpx2.post(f"{gateway.url}/v1/echo", content=png)
    assert (second.status_code, second.content) == (200, b"done")
    assert second.headers["x-sightline-cache"] == "hit"
    third = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER)
    assert (third.status_code, third.json()["state"]) == (202, "succeeded")
    assert third.json()["cached_from"] == first.json()["id"]
    assert third.headers["x-sightline-cache"] == "hit"
    sha256 = hashlib.sha256(b"done").hexdigest()
    (blobs / "sha256" / sha256[:2] / sha256[2:]).write_bytes(b"dome")
    fourth = httpx2.post(f"{gateway.url}/v1/echo", content=png)
    assert (fourth.status_code, fourth.json()["code"]) == (410, "gone")
    fifth = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=LATER)
    assert (fifth.json()["state"], fifth.json()["cached_from"]) == ("queued", None)
    worker.finish(worker.take(), {"image/png": b"done"}, model_sha256=ModelIdentity(name="echo", **reported).sha256)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png).content == b"done"
    other = httpx2.post(f"{gateway.url}/v1/echo?strength=2", content=png, headers=LATER)
    assert other.json()["state"] == "queued"
    worker.finish(worker.take(), {"image/png": b"x"}, model_sha256=ModelIdentity(name="echo", **older).sha256)
    again = httpx2.post(f"{gateway.url}/v1/echo?strength=2", content=png, headers=LATER)
    assert again.json()["state"] == "queued"


def test_webhook_makes_the_request_a_job(send: Send, worker: ManualWorker, png: bytes) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {"X-Sightline-Webhook": "https://example.org/hook", "X-Sightline-Webhook-Secret": secret}
    reply = send(png, headers)
    assert (reply.status_code, reply.json()["reason"]) == (202, "asked")
    webhook = worker.take().job.webhook
    assert webhook is not None
    assert (webhook.url, webhook.secret) == ("https://example.org/hook", secret)
    assert secret not in reply.text
    for wrong in (
        {"X-Sightline-Webhook": "https://example.org/hook"},
        {**headers, "X-Sightline-Webhook": "http://10.0.0.1/"},
    ):
        assert send(png, wrong).json()["code"] == Code.INVALID_REQUEST


def test_job_has_the_requested_priority(send: Send, worker: ManualWorker, png: bytes) -> None:
    assert send(png, {**LATER, "X-Sightline-Priority": "bulk"}).json()["priority"] == "bulk"
    assert send(png, LATER).json()["priority"] == "interactive"
    assert send(png, {**LATER, "X-Sightline-Priority": "first"}).json()["code"] == Code.INVALID_REQUEST
    assert worker.take().job.priority == "interactive"


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads_without_room_in_the_store_are_refused(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    blobs: Path,
    chunked: bool,
) -> None:
    limited = jobs.model_copy(update={"max_stored_bytes": 4_000_000})
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=limited)
    most, going_on = 0, threading.Event()

    def pieces() -> Iterator[bytes]:
        yield encode_png(64, 64)
        for _ in range(16):
            yield b"x" * 100_000
        going_on.wait(10)

    def upload() -> int:
        body = pieces() if chunked else b"".join(pieces())
        return httpx2.post(f"{gateway.url}/v1/echo", content=body, headers=LATER, timeout=30).status_code

    if not chunked:
        going_on.set()
    with ThreadPoolExecutor(12) as pool:
        uploads = [pool.submit(upload) for _ in range(12)]
        for _ in range(20):
            most = max(most, sum(path.stat().st_size for path in blobs.rglob("*") if path.is_file()))
            threading.Event().wait(0.05)
        going_on.set()
        statuses = {done.result() for done in uploads}
    assert most <= 4_000_000
    assert statuses <= {202, 429, 503}
    assert statuses & {429, 503}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Content-Type": "image/png; a=" + "b" * 2_000}, ""),
        ({"Accept": "image/png," * 1_000 + "*/*"}, ""),
        ({}, "?format=" + "p" * 20_000),
    ],
)
def test_stored_headers_and_query_are_limited(
    send: Send, png: bytes, blobs: Path, headers: dict[str, str], query: str
) -> None:
    reply = httpx2.post(f"{send.url}/v1/echo{query}", content=png, headers={**LATER, **headers})
    assert (reply.status_code, reply.json()["code"]) == (431, Code.HEADERS_TOO_LARGE)
    assert not list(blobs.rglob("sha256/*/*"))


def test_upload_waits_for_the_deletion_of_an_earlier_copy(send: Send, redis_server: RedisServer, png: bytes) -> None:
    digest = hashlib.sha256(png).hexdigest()
    with redis_server.client() as redis:
        redis.zadd("sightline:deleting", {digest: time.time() + 60})
        accepted = send.aside(png, LATER)
        time.sleep(0.5)
        assert not accepted.done()
        redis.zrem("sightline:deleting", digest)
        assert accepted.result().status_code == 202


def test_gateway_without_redis_refuses_jobs(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, png: bytes
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, sync_pixels=9)
    for headers in (LATER, {"Idempotency-Key": "k"}):
        reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (503, Code.QUEUE_UNAVAILABLE)
    assert httpx2.get(f"{gateway.url}/v1/jobs").json()["code"] == Code.QUEUE_UNAVAILABLE
    for content, prefer in ((png, "handling=strict"), (png, "wait=5")):
        assert httpx2.post(f"{gateway.url}/v1/echo", content=content, headers={"Prefer": prefer}).content == png
