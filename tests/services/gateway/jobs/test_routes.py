"""The routes of submitted jobs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Lease
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import Eventually, MakeService, ManualWorker, OpenGateway, Server, Start

FORMS = {"image/png": b"a picture", "application/json": b'{"a": "record"}'}
TEXT = {"Content-Type": "text/plain"}


class Client:
    def __init__(self, url: str, http: httpx2.Client) -> None:
        self.url, self._http = url, http

    def submit(self, content: bytes = b"work", **headers: str) -> str:
        """Submits a job and returns its path."""
        asked = {**TEXT, "Prefer": "respond-async", **headers}
        reply = self._http.post(f"{self.url}/v1/echo", content=content, headers=asked)
        assert reply.status_code == 202
        return str(reply.headers["location"])

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self._http.get(self.url + path, headers=headers)

    def state(self, path: str) -> dict[str, Any]:
        job: dict[str, Any] = self.get(path).json()
        return job

    def delete(self, path: str) -> httpx2.Response:
        return self._http.delete(self.url + path)


@pytest.fixture
def client(job_gateway: Server) -> Iterator[Client]:
    with httpx2.Client(timeout=30) as http:
        yield Client(job_gateway.url, http)


@pytest.fixture
def done(client: Client, worker: ManualWorker) -> str:
    path = client.submit(b"original")
    worker.finish(worker.take(), FORMS)
    return path


def test_job_has_state_position_and_links(client: Client, worker: ManualWorker) -> None:
    first, second = client.submit(), client.submit(b"more work")
    assert [client.state(path)["position"] for path in (first, second)] == [1, 2]
    assert client.state(first)["eta_s"] is None
    lease = worker.take()
    worker.report(lease, "infer", 0.25)
    job = client.state(first)
    assert (job["state"], job["attempts"], job["position"]) == ("running", 1, None)
    assert job["progress"] == {"stage": "infer", "share": 0.25}
    assert job["created_at"] <= job["started_at"]
    assert job["finished_at"] is None
    assert int(client.get(first).headers["retry-after"]) > 0
    worker.heartbeat()
    worker.finish(lease, FORMS)
    assert isinstance(client.state(second)["eta_s"], float)


def test_finished_job_has_timings_and_results(client: Client, done: str) -> None:
    job = client.state(done)
    assert (job["state"], job["problem"], job["progress"]) == ("succeeded", None, None)
    assert job["timings"]["stages_ms"] == {"infer": 5.0}
    assert job["timings"]["total_s"] >= job["timings"]["ran_s"] >= 0
    assert job["request"]["body_sha256"] == hashlib.sha256(b"original").hexdigest()
    assert [result["media_type"] for result in job["results"]] == list(FORMS)
    assert job["results"][0]["headers"]["X-Sightline-Model"] == "echo@1+abc"
    assert job["expires_at"] > job["finished_at"]
    assert "retry-after" not in client.get(done).headers


def test_result_has_the_accepted_media_type(client: Client, done: str) -> None:
    preferred, record = client.get(f"{done}/result"), client.get(f"{done}/result", Accept="application/json")
    assert (preferred.content, preferred.headers["content-type"]) == (FORMS["image/png"], "image/png")
    assert (record.json(), record.headers["content-type"]) == ({"a": "record"}, "application/json")
    assert record.headers["vary"] == "Accept"
    assert record.headers["x-sightline-form"] == "application/json"
    assert record.headers["x-sightline-model"] == "echo@1+abc"
    assert record.headers["x-sightline-job"] == done.rpartition("/")[2]
    assert record.headers["x-sightline-body-sha256"] == hashlib.sha256(b"original").hexdigest()
    assert "x-sightline-cache" not in record.headers
    refused = client.get(f"{done}/result", Accept="image/tiff")
    assert (refused.status_code, refused.json()["offered"]) == (406, list(FORMS))


def test_unmodified_result_is_304(client: Client, done: str) -> None:
    etag = client.get(f"{done}/result").headers["etag"]
    assert etag == f'"{hashlib.sha256(FORMS["image/png"]).hexdigest()}"'
    for known in (etag, f'"other", W/{etag}', "*"):
        reply = client.get(f"{done}/result", **{"If-None-Match": known})
        assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", etag)
    assert client.get(f"{done}/result", **{"If-None-Match": '"other"'}).status_code == 200


def test_large_result_is_complete(client: Client, worker: ManualWorker) -> None:
    path, large = client.submit(), bytes(range(256)) * 20_000
    worker.finish(worker.take(), {"image/png": large})
    reply = client.get(f"{path}/result")
    assert reply.content == large
    assert reply.headers["content-length"] == str(len(large))


LARGE = bytes(range(256)) * 40_000


@pytest.mark.parametrize("content", [FORMS["image/png"], LARGE], ids=["small", "large"])
@pytest.mark.parametrize("place", [0, -1])
def test_damaged_result_is_gone_and_not_reused(
    client: Client, worker: ManualWorker, blobs: Path, content: bytes, place: int
) -> None:
    """Covers damage at the end, which is read last; the undamaged record stays available."""
    path = client.submit(b"work", **{"Idempotency-Key": f"key-{place}"})
    worker.finish(worker.take(), {"image/png": content, "application/json": b"{}"})
    sha256 = hashlib.sha256(content).hexdigest()
    blob = blobs / "sha256" / sha256[:2] / sha256[2:]
    damaged = bytearray(content)
    damaged[place] ^= 1
    blob.write_bytes(damaged)

    reply = client.get(f"{path}/result")
    assert (reply.status_code, reply.json()["code"]) == (410, Code.GONE)
    assert "damaged; submit the request again" in reply.json()["detail"]
    assert client.get(f"{path}/result", Accept="application/json").status_code == 200

    again = client.submit(b"work", **{"Idempotency-Key": f"key-{place}"})
    assert again != path
    assert client.state(again)["state"] == "queued"
    worker.finish(worker.take(), {"image/png": content})
    assert client.get(f"{again}/result").content == content
    assert client.get(f"{path}/result").content == content


def test_missing_result_is_gone_and_not_reused(client: Client, done: str, blobs: Path) -> None:
    sha256 = hashlib.sha256(FORMS["image/png"]).hexdigest()
    (blobs / "sha256" / sha256[:2] / sha256[2:]).unlink()
    reply = client.get(f"{done}/result")
    assert (reply.status_code, reply.json()["code"]) == (410, Code.GONE)
    assert "missing; submit the request again" in reply.json()["detail"]


def test_unfinished_result_has_retry_after(client: Client) -> None:
    path = client.submit()
    reply = client.get(f"{path}/result")
    assert (reply.status_code, reply.json()["code"], reply.json()["state"]) == (409, Code.NOT_FINISHED, "queued")
    assert int(reply.headers["retry-after"]) > 0


def test_result_of_a_failed_job_is_its_problem(client: Client, worker: ManualWorker) -> None:
    path = client.submit()
    worker.fail(worker.take(), Problem(Code.TOO_MANY_PIXELS, "The picture is too large.", max_pixels=7))
    assert client.state(path)["state"] == "failed"
    assert client.state(path)["problem"]["code"] == "too_many_pixels"
    reply = client.get(f"{path}/result")
    assert (reply.status_code, reply.json()["detail"], reply.json()["max_pixels"]) == (
        413,
        "The picture is too large.",
        7,
    )
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def test_result_of_a_dead_job_has_its_last_problem(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings
) -> None:
    frail = jobs.model_copy(update={"max_attempts": 1})
    worker = ManualWorker(frail)
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=frail)
    with httpx2.Client() as http:
        client = Client(gateway.url, http)
        path = client.submit()
        worker.fail(worker.take(), Problem(Code.INTERNAL, "The service failed on this request."), transient=True)
        assert client.state(path)["state"] == "dead"
        reply = client.get(f"{path}/result")
        assert (reply.status_code, reply.json()["code"]) == (502, Code.UPSTREAM_FAILED)
        assert reply.json()["last_problem"]["code"] == Code.INTERNAL


def test_job_is_cancelled_before_and_while_it_runs(client: Client, worker: ManualWorker) -> None:
    for taken in (False, True):
        path = client.submit()
        if taken:
            assert worker.take().job.id == path.rpartition("/")[2]
        reply = client.delete(path)
        assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
        gone = client.get(f"{path}/result")
        assert (gone.status_code, gone.json()["code"]) == (410, Code.GONE)
        assert client.delete(path).json()["state"] == "cancelled"


def test_deletion_of_a_finished_job_deletes_its_result(client: Client, done: str) -> None:
    reply = client.delete(done)
    assert (reply.status_code, reply.json()["state"], reply.json()["results"]) == (200, "succeeded", [])
    assert client.get(f"{done}/result").status_code == 410
    assert client.state(done)["state"] == "succeeded"


@pytest.mark.parametrize("path", ["/v1/jobs/none", "/v1/jobs/%00", "/v1/jobs/a%3Ab", f"/v1/jobs/{'a' * 32}"])
def test_unknown_job_is_not_found(client: Client, path: str) -> None:
    for reply in (client.get(path), client.get(f"{path}/result"), client.get(f"{path}/events"), client.delete(path)):
        assert (reply.status_code, reply.json()["code"]) == (404, Code.NOT_FOUND)


def test_jobs_are_listed_in_pages_the_newest_first(client: Client) -> None:
    paths = [client.submit(bytes([number])) for number in range(5)]
    client.delete(paths[2])
    listed, page = [], "/v1/jobs?limit=2"
    while page:
        body = client.get(page).json()
        listed.append([job["links"]["self"] for job in body["jobs"]])
        page = body["next"]
    assert listed == [[paths[4], paths[3]], [paths[2], paths[1]], [paths[0]]]
    cancelled = client.get("/v1/jobs?state=cancelled&model=echo&limit=1").json()
    assert [job["links"]["self"] for job in cancelled["jobs"]] == [paths[2]]
    assert client.get("/v1/jobs?model=other").json()["jobs"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=sleeping", "after=nonsense"])
def test_invalid_page_parameters_are_refused(client: Client, query: str) -> None:
    client.submit()
    assert client.get(f"/v1/jobs?{query}").status_code == 400


def events(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event:")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_events_are_streamed_and_end_with_the_job(client: Client, worker: ManualWorker) -> None:
    path = client.submit()
    with httpx2.stream("GET", f"{client.url}{path}/events", timeout=30) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store"
        pieces, text = reply.iter_text(), ""
        while "event: queued" not in text:
            text += next(pieces)
        lease = worker.take()
        worker.report(lease, "infer", 0.5)
        while "event: progress" not in text:
            text += next(pieces)
        worker.finish(lease, FORMS)
        text += "".join(pieces)
    found = events(text)
    assert [event["event"] for event in found] == ["queued", "running", "progress", "succeeded"]
    facts = json.loads(found[2]["data"])
    assert (facts["id"], facts["state"], facts["progress"]) == (
        path.rpartition("/")[2],
        "running",
        {"stage": "infer", "share": 0.5},
    )


def test_events_resume_after_the_last_event_id(client: Client, done: str) -> None:
    everything = events(client.get(f"{done}/events").text)
    assert [event["event"] for event in everything] == ["queued", "running", "succeeded"]
    rest = client.get(f"{done}/events", **{"Last-Event-ID": everything[0]["id"]})
    assert events(rest.text) == everything[1:]
    assert events(client.get(f"{done}/events", **{"Last-Event-ID": "not ours"}).text) == everything
    after_all = client.get(f"{done}/events", **{"Last-Event-ID": everything[-1]["id"]})
    assert (after_all.status_code, after_all.content) == (204, b"")  # an EventSource would come again after a 200


@pytest.mark.parametrize("halves", [(2**64, 0), (1, 2**64), (10**20 - 1, 1)])
def test_event_id_out_of_range_replays_all_events(
    client: Client, worker: ManualWorker, halves: tuple[int, int]
) -> None:
    path = client.submit()
    lost = {"Last-Event-ID": "{}-{}".format(*halves)}
    with httpx2.stream("GET", f"{client.url}{path}/events", headers=lost, timeout=30) as reply:
        worker.finish(worker.take(), FORMS)
        assert events(reply.read().decode())[-1]["event"] == "succeeded"


def test_event_streams_are_limited(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, jobs: JobSettings, eventually: Eventually
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, max_event_streams=1)
    with httpx2.Client(timeout=30) as http:
        client = Client(gateway.url, http)
        path = client.submit()
        with httpx2.stream("GET", f"{gateway.url}{path}/events", timeout=30) as first:
            heard = first.iter_text()
            next(heard)
            refused = client.get(f"{path}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, Code.OVERLOADED)
        # A place is free again once the first client has disconnected.
        client.delete(path)
        eventually(lambda: client.get(f"{path}/events").status_code == 200)


def test_job_with_many_listeners_ends_all_streams(client: Client, worker: ManualWorker) -> None:
    path, texts = client.submit(), []

    def listen() -> None:
        texts.append(httpx2.get(f"{client.url}{path}/events", timeout=30).text)

    listeners = [threading.Thread(target=listen) for _ in range(5)]
    for listener in listeners:
        listener.start()
    lease: Lease = worker.take()
    worker.finish(lease, FORMS)
    for listener in listeners:
        listener.join()
    assert [events(text)[-1]["event"] for text in texts] == ["succeeded"] * 5
