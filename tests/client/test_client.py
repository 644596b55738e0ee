"""Both clients against a server with scripted replies, as faults of networks and proxies need."""

import asyncio
import io
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.api.problems import Code
from sightline.client import (
    AsyncClient,
    Client,
    Conflict,
    Forbidden,
    JobCancelled,
    JobFailed,
    NotSightline,
    Overloaded,
    RateLimited,
    SightlineError,
    TooLarge,
    Unauthorized,
    Unreachable,
    Unreadable,
    async_client,
    operations,
)
from sightline.client.errors import BY_CODE
from sightline.client.pictures import encode_array
from sightline.client.results import HttpReply
from tests.cli.scripted_server import ScriptedServer, Step, scripted_server
from tests.client.conftest import Call, call_async_client

PICTURE = encode_array(np.zeros((4, 4, 3), np.uint8))
IMAGE_REPLY: Step = (
    200,
    {"Content-Type": "image/png", "X-Request-Id": "r1", "X-Sightline-Model": "inpaint@1+ab"},
    PICTURE,
)
ERRORS = (Unreadable("odd"), FileNotFoundError("gone"), ValueError("an array of float64 is no picture"))
JOB: dict[str, Any] = {"id": "job1", "state": "queued", "position": 3, "eta_s": 9.0, "progress": None}
ACCEPTED: Step = (202, {"Content-Type": "application/json", "Location": "/v1/jobs/job1"}, JOB)


def job(state: str, **members: Any) -> Step:
    return 200, {"Content-Type": "application/json"}, {**JOB, "state": state, **members}


def problem(status: int, code: str, detail: str = "No.", headers: dict[str, str] | None = None, **facts: Any) -> Step:
    body = {"type": f"urn:sightline:problem:{code}", "title": "", "status": status, "code": code, "detail": detail}
    return (
        status,
        {"Content-Type": "application/problem+json", **(headers or {})},
        {**body, "request_id": "r7", **facts},
    )


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as running:
        yield running


def test_picture_result_has_its_evidence(server: ScriptedServer, call: Call) -> None:
    share: Step = (
        200,
        {**IMAGE_REPLY[1], "X-Sightline-Synthesised-Share": "0.25", "X-Sightline-Notes": "a, b"},
        PICTURE,
    )
    server.script = [share]
    result = call(server.url, "inpaint", PICTURE, PICTURE)
    assert (result.data, result.media_type, result.synthesised_share) == (PICTURE, "image/png", 0.25)
    assert result.evidence.request_id == "r1"
    assert result.evidence.model == "inpaint@1+ab"
    assert result.evidence.notes == ("a", "b")
    (request,) = server.requests
    assert request.path == "/v1/inpaint"
    assert request.headers["Accept"] == "image/png"
    assert "Idempotency-Key" not in request.headers


def test_options_are_form_fields(server: ScriptedServer, call: Call) -> None:
    server.script = [(200, {"Content-Type": "image/webp"}, b"RIFF")]
    call(server.url, "inpaint", PICTURE, regions={"boxes": [[1, 2, 3, 4]]}, format="webp", method="network")
    body = server.requests[0].body
    assert b'name="regions"\r\n\r\n{"boxes": [[1, 2, 3, 4]]}\r\n' in body
    assert b'name="method"\r\n\r\nnetwork\r\n' in body
    assert server.requests[0].headers["Accept"] == "image/webp"


def test_file_names_stay_on_this_machine(server: ScriptedServer, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "name of a witness.png"
    path.write_bytes(PICTURE)
    server.script = [IMAGE_REPLY]
    call(server.url, "inpaint", path)
    assert PICTURE in server.requests[0].body
    assert b"witness" not in server.requests[0].body


@pytest.mark.parametrize("make", [lambda: PICTURE, lambda: io.BytesIO(PICTURE), lambda: Image.new("RGB", (4, 4))])
def test_repeated_request_sends_the_whole_picture_and_a_key(
    server: ScriptedServer, call: Call, make: Callable[[], Any]
) -> None:
    server.script = [problem(503, "overloaded"), (502, {"Content-Type": "text/html"}, b"bad gateway"), IMAGE_REPLY]
    assert call(server.url, "inpaint", make()).data == PICTURE
    lengths = [len(request.body) for request in server.requests]
    assert len(set(lengths)) == 1
    first, second, third = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first is None
    assert second == third is not None


def test_retry_after_is_honoured(server: ScriptedServer, call: Call) -> None:
    server.script = [problem(429, "too_many_requests", headers={"Retry-After": "1"}), IMAGE_REPLY]
    started_at = time.monotonic()
    call(server.url, "inpaint", PICTURE)
    assert time.monotonic() - started_at >= 1


def test_retry_after_may_be_a_date(server: ScriptedServer, call: Call) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=42), usegmt=True)
    server.script = [problem(503, "overloaded", headers={"Retry-After": until})]
    with pytest.raises(Overloaded) as caught:
        call(server.url, "inpaint", PICTURE, client={"retry_s": 5})
    assert caught.value.retry_after_s == pytest.approx(42, abs=2)


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [("Wed, 01 Jan 2020 00:00:07 GMT", 7), ("Wed, 01 Jan 2020 00:00:00 GMT", 0), ("soon", None), ("-5", None)],
)
def test_date_of_retry_after_is_read_by_the_clock_of_the_server(text: str, wait_s: float | None) -> None:
    reply = HttpReply(503, {"retry-after": text, "date": "Wed, 01 Jan 2020 00:00:00 GMT"}, b"")
    assert operations.error_of(reply).retry_after_s == wait_s


def test_retry_that_exceeds_the_time_raises_the_error_at_once(server: ScriptedServer, call: Call) -> None:
    server.script = [problem(503, "overloaded", "Busy.", headers={"Retry-After": "30"})]
    with pytest.raises(Overloaded, match=r"Busy \(overloaded, request r7\)\. Try again in 30 s\.") as caught:
        call(server.url, "inpaint", PICTURE, client={"retry_s": 5})
    assert caught.value.retry_after_s == 30


def test_final_error_is_not_repeated(server: ScriptedServer, call: Call) -> None:
    server.script = [problem(400, "unreadable_image", "The file is empty.")]
    with pytest.raises(Unreadable) as caught:
        call(server.url, "screen", PICTURE)
    error = caught.value
    assert (error.status, error.code, error.request_id, error.detail) == (
        400,
        "unreadable_image",
        "r7",
        "The file is empty.",
    )


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (problem(413, "too_many_pixels", max_pixels=5), TooLarge),
        (problem(401, "unauthorized"), Unauthorized),
        (problem(403, "forbidden"), Forbidden),
        (problem(422, "idempotency_key_reused"), Conflict),
        (problem(429, "a_code_of_next_year"), RateLimited),
        ((404, {"Content-Type": "text/html"}, b"<h1>nginx</h1>"), SightlineError),
        ((408, {"Content-Type": "text/html"}, b"<h1>haproxy</h1>"), Unreachable),
        ((302, {"Location": "https://elsewhere.example"}, b""), NotSightline),
        ((200, {"Content-Type": "text/html"}, b"<h1>log in</h1>"), NotSightline),
    ],
)
def test_refusals_have_classes(server: ScriptedServer, call: Call, step: Step, kind: type[SightlineError]) -> None:
    server.script = [step]
    with pytest.raises(kind) as caught:
        call(server.url, "inpaint", PICTURE, client={"retry_s": 0})
    if kind is TooLarge:
        assert caught.value.facts == {"max_pixels": 5}


@pytest.mark.parametrize(
    ("step", "hint"),
    [
        (
            problem(400, "invalid_request", errors=[{"field": "strength", "message": "Input should be at most 1"}]),
            "strength: Input should be at most 1.",
        ),
        (problem(406, "not_acceptable", offered=["image/png"]), "It can be requested as image/png."),
        (problem(404, "not_found", routes=["/v1/hoi", "/v1/inpaint"]), "The server has hoi, inpaint."),
        (problem(404, "not_found", models=["hoi"]), "The server has hoi."),
        (problem(413, "too_many_pixels", max_pixels=5), "Send a smaller picture."),
        (problem(401, "unauthorized"), "Give a valid key as `api_key` or in SIGHTLINE_API_KEY."),
        ((503, {"Retry-After": "70"}, b"busy"), "Try again in 70 s."),
        (problem(400, "bad_mask", "The mask is too small; send one of 4 x 4 pixels."), None),
    ],
)
def test_refusals_have_hints(server: ScriptedServer, call: Call, step: Step, hint: str | None) -> None:
    server.script = [step]
    with pytest.raises(SightlineError) as caught:
        call(server.url, "inpaint", PICTURE)
    assert caught.value.hint == hint
    assert hint is None or str(caught.value).endswith(hint)


def test_every_code_of_the_server_has_a_class() -> None:
    assert set(BY_CODE) == set(Code)


def test_job_is_followed_and_its_progress_reported(server: ScriptedServer, call: Call) -> None:
    running = job("running", position=None, progress={"stage": "infer", "share": 0.5})
    server.script = [ACCEPTED, job("queued"), problem(503, "queue_unavailable"), running, job("succeeded"), IMAGE_REPLY]
    seen: list[str] = []
    result = call(server.url, "inpaint", PICTURE, progress=lambda status: seen.append(str(status)))
    assert result.data == PICTURE
    assert seen == [
        "Job job1: queued, position 3 in the queue, about 9 s left",
        "Job job1: queued, position 3 in the queue, about 9 s left",
        "Job job1: running (infer, 50%), about 9 s left",
        "Job job1: succeeded, position 3 in the queue, about 9 s left",
    ]
    assert server.requests[-1].path == "/v1/jobs/job1/result"
    assert server.requests[-1].headers["Accept"] == "image/png"


def test_job_of_an_attempt_whose_reply_was_lost_is_joined(server: ScriptedServer, call: Call) -> None:
    in_use = problem(409, "idempotency_key_in_use", headers={"Location": "https://elsewhere.example/v1/jobs/job1"})
    server.script = [problem(503, "overloaded"), in_use, job("succeeded"), IMAGE_REPLY]
    assert call(server.url, "inpaint", PICTURE).data == PICTURE
    assert [request.path for request in server.requests[2:]] == ["/v1/jobs/job1", "/v1/jobs/job1/result"]


@pytest.mark.parametrize(
    ("ended", "kind"),
    [
        (job("failed", problem={"code": "unreadable_image", "detail": "No picture."}), Unreadable),
        (job("dead", problem={"code": "internal", "detail": "It crashed."}), JobFailed),
        (job("cancelled"), JobCancelled),
    ],
)
def test_job_without_result_raises_what_ended_it(
    server: ScriptedServer, call: Call, ended: Step, kind: type[SightlineError]
) -> None:
    server.script = [ACCEPTED, ended]
    with pytest.raises(kind) as caught:
        call(server.url, "inpaint", PICTURE)
    assert caught.value.facts["job_id"] == "job1"
    assert bool(caught.value.hint) == (kind is not JobCancelled)


def test_job_id_that_leads_elsewhere_is_refused(server: ScriptedServer, call: Call) -> None:
    server.script = [(202, {"Content-Type": "application/json"}, {**JOB, "id": "../../x"})]
    with pytest.raises(NotSightline):
        call(server.url, "inpaint", PICTURE)
    with pytest.raises(ValueError, match="is no job id"):
        call(server.url, "job", "../models")


def test_submission_asks_for_a_job_and_is_repeated_with_one_key(server: ScriptedServer, call: Call) -> None:
    server.script = [problem(503, "queue_unavailable"), ACCEPTED]
    assert call(server.url, "inpaint", PICTURE, wait=False).id == "job1"
    keys = {request.headers["Idempotency-Key"] for request in server.requests}
    assert len(keys) == 1
    assert None not in keys
    assert {request.headers["Prefer"] for request in server.requests} == {"respond-async"}


def stream(*events: str) -> Step:
    return 200, {"Content-Type": "text/event-stream"}, "".join(events).encode()


def test_events_continue_after_a_broken_stream(server: ScriptedServer, call: Call) -> None:
    first = 'id: 1-0\nevent: running\ndata: {"attempt": 1}\n\n'
    last = 'id: 2-0\nevent: succeeded\ndata: {"attempt": 1}\n\n'
    server.script = [
        stream("retry: 3000\n\n", first),
        job("succeeded"),
        problem(503, "overloaded"),
        stream(last),
    ]
    events = call(server.url, "events", "job1")
    assert [(event.id, event.name) for event in events] == [("1-0", "running"), ("2-0", "succeeded")]
    resumed = [request.headers["Last-Event-ID"] for request in server.requests if request.path.endswith("events")]
    assert resumed == [None, "1-0", "1-0"]


def test_events_of_an_unknown_job_raise(server: ScriptedServer, call: Call) -> None:
    server.script = [problem(404, "not_found")]
    with pytest.raises(SightlineError, match="not_found"):
        call(server.url, "events", "job1")


def test_events_end_if_the_server_has_no_last_one(server: ScriptedServer, call: Call) -> None:
    server.script = [stream(), job("running"), stream(), job("cancelled"), stream(), job("cancelled")]
    assert call(server.url, "events", "job1") == []
    assert server.script == []


def test_events_of_a_server_that_stays_busy_raise(server: ScriptedServer, call: Call) -> None:
    busy = problem(503, "overloaded", "Busy.", headers={"Retry-After": "9"})
    first = 'id: 1-0\nevent: running\ndata: {"attempt": 1}\n\n'
    server.script = [stream(first), job("running"), busy]
    with pytest.raises(Unreachable, match="Busy") as caught:
        call(server.url, "events", "job1", client={"retry_s": 5})
    assert caught.value.retry_after_s == 9


def test_peer_that_speaks_no_http_is_named_at_once(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")  # an alert of TLS
                connection.recv(65536)

        peer = Thread(target=greet)
        peer.start()
        with pytest.raises(NotSightline, match="does not speak HTTP: another kind of server answered"):
            call(f"http://127.0.0.1:{listener.getsockname()[1]}", "models")
        peer.join()


def test_wrong_address_fails_within_seconds(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    started_at = time.monotonic()
    with pytest.raises(Unreachable, match=f"http://127.0.0.1:{port} cannot be reached: the connection was refused"):
        call(f"http://127.0.0.1:{port}", "models")
    assert time.monotonic() - started_at < 10


def test_key_prefix_and_environment(server: ScriptedServer, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    reply: Step = (200, {"Content-Type": "application/json"}, {"models": []})
    server.script = [reply, reply]
    call(f"{server.url}/vision/", "models", client={"api_key": "secret"})
    monkeypatch.setenv("SIGHTLINE_API_KEY", "from-environment")
    monkeypatch.setenv("SIGHTLINE_URL", f"{server.url}/console/")
    call(None, "models")
    assert [(each.path, each.headers["Authorization"]) for each in server.requests] == [
        ("/vision/v1/models", "Bearer secret"),
        ("/v1/models", "Bearer from-environment"),
    ]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost:8080", "does not begin with http"),
        ("http://", "names no valid host"),
        ("http://a:99999", "no valid"),
    ],
)
def test_invalid_address_is_explained(address: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(address)


def test_pictures_are_encoded_off_the_event_loop(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Thread] = []

    def encode(picture: Any) -> bytes:
        threads.append(current_thread())
        return PICTURE

    monkeypatch.setattr(async_client, "encode", encode)
    server.script = [IMAGE_REPLY, IMAGE_REPLY]
    array = np.zeros((4, 4, 3), np.uint8)
    call_async_client(server.url, "inpaint", array, array)
    call_async_client(server.url, "predict", "inpaint", {"image": array}, accept="image/png")
    assert len(threads) == 3
    assert main_thread() not in threads


def test_map_keeps_going_after_a_failure_and_reads_its_input_slowly(server: ScriptedServer, call: Call) -> None:
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            read.append(number)
            yield number

    def half(number: int) -> int:
        assert len(read) - number <= 20
        if number % 2:
            raise ERRORS[number // 2 % len(ERRORS)]
        return number // 2

    async def half_later(number: int) -> int:
        return half(number)

    chosen = half_later if call is call_async_client else half
    outcomes = call(server.url, "map", chosen, numbers(), concurrency=3)
    assert sorted(each.picture for each in outcomes) == list(range(20))
    assert {each.picture: each.result for each in outcomes if each.error is None} == {
        n: n // 2 for n in range(0, 20, 2)
    }
    assert {each.picture: each.error for each in outcomes if each.error} == {
        n: ERRORS[n // 2 % len(ERRORS)] for n in range(1, 20, 2)
    }


def test_map_never_runs_more_than_its_concurrency() -> None:
    read = running = most = 0

    def pictures() -> Iterator[int]:
        nonlocal read
        for number in range(12):
            read += 1
            yield number

    async def slow(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return number

    async def run() -> None:
        async with AsyncClient("http://127.0.0.1:1") as client:
            ended = 0
            async for _ in client.map(slow, pictures(), concurrency=3):
                ended += 1
                assert read <= ended + 3

    asyncio.run(run())
    assert most == 3
