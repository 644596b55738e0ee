"""The whole service over a real server."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp

from sightline.inference.predictor import AnyPredictor

MakePng = Callable[..., bytes]
MakeApp = Callable[..., FastAPI]
MakePredictor = Callable[..., AnyPredictor]
Serve = Callable[[ASGIApp], str]
WaitReady = Callable[[str], None]
ValuesOf = Callable[[bytes], Sequence[int]]

ROUTE = "/v1/tiny-invert"
POISON = 13


@pytest.fixture
def client(serve: Serve, make_app: MakeApp, wait_ready: WaitReady) -> Iterator[httpx2.Client]:
    url = serve(make_app(max_bytes=100_000))
    wait_ready(url)
    with httpx2.Client(base_url=url) as client:
        yield client


def assert_problem(reply: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    body: dict[str, Any] = reply.json()
    assert (reply.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["request_id"] == reply.headers["x-request-id"]
    assert body["detail"].endswith(".")
    return body


def test_picture_in_a_form_is_answered(client: httpx2.Client, make_png: MakePng, value_of: ValuesOf) -> None:
    png = make_png(50)
    reply = client.post(ROUTE, files={"image": png})
    assert value_of(reply.content) == [205]
    assert reply.headers["content-type"] == "image/png"
    assert reply.headers["x-sightline-input-sha256"] == hashlib.sha256(png).hexdigest()
    assert reply.headers["x-sightline-model"].startswith("tiny_invert@1.2.3+")
    assert reply.headers["x-tiny"] == "yes"
    stages = [part.partition(";")[0] for part in reply.headers["server-timing"].split(", ")]
    assert stages == ["read", "decode", "queue", "infer", "encode"]


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_bare_picture_is_answered(
    client: httpx2.Client, make_png: MakePng, value_of: ValuesOf, content_type: str
) -> None:
    reply = client.post(ROUTE, content=make_png(50), headers={"Content-Type": content_type}, params={"times": 2})
    assert value_of(reply.content) == [50]


def test_options_are_read_from_form_fields_or_query(client: httpx2.Client, make_png: MakePng) -> None:
    headers = {"Accept": "application/json"}
    by_field = client.post(ROUTE, files={"image": make_png()}, data={"tags": ["a", "b"]}, headers=headers).json()
    by_query = client.post(ROUTE, params={"tags": ["a", "b"]}, content=make_png(), headers=headers).json()
    assert by_field["tags"] == by_query["tags"] == ["a", "b"]


def test_option_may_come_as_a_file(client: httpx2.Client, make_png: MakePng, value_of: ValuesOf) -> None:
    reply = client.post(ROUTE, files={"image": make_png(50), "times": ("times.txt", b"2")})
    assert value_of(reply.content) == [50]


def test_json_reply_carries_the_evidence(client: httpx2.Client, make_png: MakePng) -> None:
    png = make_png()
    headers = {"Accept": "application/json", "X-Request-Id": "case-7"}
    reply = client.post(ROUTE, files={"image": png}, data={"times": "2"}, headers=headers)
    evidence = reply.json()["evidence"]
    assert evidence["request_id"] == "case-7"
    assert evidence["input_sha256"] == hashlib.sha256(png).hexdigest()
    assert evidence["parameters"] == {"times": 2, "tags": []}
    assert evidence["provider"] == "CPUExecutionProvider"
    assert evidence["model"]["contract"] == "shipped"
    assert evidence["libraries"].keys() >= {"sightline", "onnxruntime", "numpy", "pillow"}
    assert evidence["received_at"] <= evidence["finished_at"]


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"extra": b"x"}, "'image'"),
        ({"image": b""}, "empty"),
        ({"image": b"x", "colour": (None, "red")}, "'colour'"),
        ({"image": b"x", "times": (None, "9")}, "options"),
        ({"image": b"not a picture"}, "cannot be read"),
        ({"image": (None, "text")}, "must be sent as a file"),
        ({"image": b"x", "times": ("times", b"\xff\xfe")}, "not text"),
    ],
    ids=["missing", "empty", "unknown", "invalid", "unreadable", "text", "binary-option"],
)
def test_invalid_form_is_a_bad_request(client: httpx2.Client, files: dict[str, Any], fault: str) -> None:
    reply = client.post(ROUTE, files=files)
    assert reply.status_code == 400
    assert fault in reply.json()["detail"]


def test_second_picture_is_refused_where_one_is_wanted(client: httpx2.Client, make_png: MakePng) -> None:
    reply = client.post(ROUTE, files=[("image", make_png()), ("image", make_png())])
    assert assert_problem(reply, 400, "invalid_request")["field"] == "image"


def test_invalid_options_are_named_without_their_values(client: httpx2.Client, make_png: MakePng) -> None:
    reply = client.post(ROUTE, files={"image": make_png()}, data={"times": "secret"})
    body = assert_problem(reply, 400, "invalid_request")
    assert [fault["field"] for fault in body["errors"]] == ["times"]
    assert "secret" not in reply.text


def test_broken_form_is_refused(client: httpx2.Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert_problem(client.post(ROUTE, content=b"--y\r\n\r\n", headers=headers), 400, "invalid_request")


def test_body_of_an_unknown_type_is_refused(client: httpx2.Client) -> None:
    assert_problem(client.post(ROUTE, json={"image": "…"}), 415, "unsupported_format")


def test_unacceptable_media_type_is_refused_before_the_body_is_read(client: httpx2.Client) -> None:
    reply = client.post(ROUTE, files={"image": b"never looked at"}, headers={"Accept": "text/html"})
    assert assert_problem(reply, 406, "not_acceptable")["offered"] == ["image/png", "application/json"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_too_large_body_is_refused_with_the_limit(client: httpx2.Client, declared: bool) -> None:
    body = b"x" * 200_000
    reply = client.post(ROUTE, content=body if declared else iter([body]))
    assert assert_problem(reply, 413, "too_many_bytes")["limit_bytes"] == 100_000


def test_unknown_paths_and_methods_are_problem_details(client: httpx2.Client) -> None:
    assert_problem(client.get("/nowhere"), 404, "not_found")
    reply = client.get(ROUTE)
    assert_problem(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"


def test_failing_model_reveals_no_text(client: httpx2.Client, make_png: MakePng) -> None:
    reply = client.post(ROUTE, files={"image": make_png(POISON)})
    assert assert_problem(reply, 500, "internal")["detail"] == "The service failed on this request."
    assert client.get("/readyz").status_code == 200
    assert client.post(ROUTE, files={"image": make_png(50)}).status_code == 200


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_deadline_must_be_a_number(client: httpx2.Client, make_png: MakePng, value: str) -> None:
    reply = client.post(ROUTE, content=make_png(), headers={"X-Sightline-Deadline-Ms": value})
    assert_problem(reply, 400, "invalid_request")


def test_request_with_an_expired_deadline_is_refused(client: httpx2.Client, make_png: MakePng) -> None:
    reply = client.post(ROUTE, content=make_png(), headers={"X-Sightline-Deadline-Ms": "0"})
    assert_problem(reply, 504, "deadline_exceeded")


def test_concurrent_requests_get_their_own_answers(
    client: httpx2.Client, make_png: MakePng, value_of: ValuesOf
) -> None:
    answers: dict[int, Sequence[int]] = {}

    def ask(value: int) -> None:
        width = 8 if value % 2 else 16
        answers[value] = value_of(client.post(ROUTE, files={"image": make_png(value, width=width)}).content)

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(100, 124)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {value: [255 - value] for value in range(100, 124)}


def test_samples_of_a_disconnected_client_are_dropped(
    serve: Serve, make_app: MakeApp, make_predictor: MakePredictor, make_png: MakePng, wait_ready: WaitReady
) -> None:
    predictor = make_predictor(step_s=0.2)
    url = serve(make_app(predictor))
    wait_ready(url)
    body = make_png()
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as connection:
        head = f"POST {ROUTE}?times=5 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        _wait_until(lambda: vars(predictor)["rounds"] >= 1)
    _wait_until(lambda: 'status="503"' in httpx2.get(f"{url}/metrics").text)
    assert vars(predictor)["rounds"] < 5


def test_requests_beyond_the_limit_are_shed_with_retry_after(
    serve: Serve, make_app: MakeApp, make_predictor: MakePredictor, make_png: MakePng, wait_ready: WaitReady
) -> None:
    predictor = make_predictor(step_s=0.3)
    url = serve(make_app(predictor, max_in_flight=1))
    wait_ready(url)
    with httpx2.Client(base_url=url) as client:
        slow = threading.Thread(
            target=client.post, args=(ROUTE,), kwargs={"content": make_png(), "params": {"times": 5}}
        )
        slow.start()
        _wait_until(lambda: vars(predictor)["rounds"] >= 1)
        replies: list[httpx2.Response] = []
        while slow.is_alive():
            replies.append(client.post(ROUTE, content=make_png()))
        slow.join()
        shed = [reply for reply in replies if reply.status_code == 503]
        assert shed
        assert_problem(shed[0], 503, "overloaded")
        assert int(shed[0].headers["retry-after"]) >= 1
        assert "sightline_shed_total" in client.get("/metrics").text


def test_openapi_describes_the_model(client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    route = document["paths"][ROUTE]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["image"]
    assert form["properties"]["image"] == {"type": "string", "format": "binary", "description": "The picture"}
    assert form["properties"]["times"]["maximum"] == 5
    assert [parameter["name"] for parameter in route["parameters"]] == ["times", "tags"]
    assert set(route["responses"]["200"]["content"]) == {"application/octet-stream", "image/png", "application/json"}
    reference = route["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert "evidence" in document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    assert route["responses"]["503"]["content"]["application/problem+json"]["examples"].keys() == {"overloaded"}
    assert "$defs" not in json.dumps(document)


def test_metrics_split_the_stages(client: httpx2.Client, make_png: MakePng) -> None:
    client.post(ROUTE, content=make_png())
    text = client.get("/metrics").text
    for stage in ("read", "decode", "queue", "infer", "encode"):
        assert f'sightline_stage_duration_seconds_count{{model="tiny_invert",stage="{stage}"}} 1.0' in text
    assert 'sightline_batch_size_sum{model="tiny_invert"} 1.0' in text
    assert 'sightline_provider_info{model="tiny_invert",precision="fp32",provider="CPUExecutionProvider"} 1.0' in text
    assert 'sightline_ready{model="tiny_invert"} 1.0' in text
    assert "sightline_build_info" in text
    assert f'route="{ROUTE}",status="200"' in text


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)
