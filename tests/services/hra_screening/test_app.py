"""Over a real server, with the tests' own weights."""

import io
import time
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.types import ASGIApp

from services.hra_screening.app import create
from sightline.inference.weights import Weights

Plain = Callable[..., bytes]
Serve = Callable[[ASGIApp], str]

ROUTE = "/v1/hra-screening"
PATIENCE_S = 20.0


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, colours: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(colours.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with httpx2.Client(base_url=serve(create())) as client:
        give_up_at = time.monotonic() + PATIENCE_S
        while client.get("/readyz").status_code != 200 and time.monotonic() < give_up_at:
            time.sleep(0.02)
        yield client


def test_one_picture_many_pictures_and_overlay(client: httpx2.Client, plain: Plain) -> None:
    reply = client.post(ROUTE, content=plain("red"), headers={"content-type": "image/png"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-sightline-model"].startswith("hra_screening@1.0+")
    assert reply.json()["results"][0]["decision"] == "arms"
    many = [("image", plain(colour)) for colour in ("green", "dark", "blue")]
    reply = client.post(ROUTE, files=[*many, ("image", b"broken")], data={"threshold": "0.5"})
    found = reply.json()["results"]
    assert [each.get("decision") for each in found] == ["environment", "no_violation", "out_of_school", None]
    assert found[3]["problem"]["code"] == "unreadable_image"
    overlay = client.post(ROUTE, files={"image": plain("red")}, headers={"accept": "image/jpeg"})
    assert overlay.headers["content-type"] == "image/jpeg"
    assert np.asarray(Image.open(io.BytesIO(overlay.content))).shape == (90, 120, 3)


@pytest.mark.parametrize(
    "options",
    [{"threshold": "2"}, {"threshold": "nan"}, {"threshold": "high"}, {"category": "refugees"}, {"top": "3"}],
)
def test_unsupported_requests_are_problems(client: httpx2.Client, plain: Plain, options: dict[str, str]) -> None:
    reply = client.post(ROUTE, files={"image": plain("red")}, data=options)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("data", [b"", b"x", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(40), b"BM" + bytes(60)])
def test_bad_upload_is_a_client_error(client: httpx2.Client, data: bytes) -> None:
    reply = client.post(ROUTE, files={"image": data})
    assert reply.status_code in (400, 413, 415)
    assert reply.headers["content-type"] == "application/problem+json"


def test_too_many_pictures_are_refused(client: httpx2.Client, plain: Plain) -> None:
    reply = client.post(ROUTE, files=[("image", plain("red", 4, 4))] * 65)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert "64" in reply.json()["detail"]


def test_overlay_of_several_pictures_is_not_acceptable(client: httpx2.Client, plain: Plain) -> None:
    reply = client.post(ROUTE, files=[("image", plain("red"))] * 2, headers={"accept": "image/png"})
    assert (reply.status_code, reply.json()["code"]) == (406, "not_acceptable")


def test_documentation_has_repeatable_pictures(client: httpx2.Client) -> None:
    route = client.get("/openapi.json").json()["paths"][ROUTE]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"image", "threshold", "category", "heat_map", "embedding"}
    assert form["image"]["type"] == "array"
    assert set(route["responses"]["200"]["content"]) - {"application/octet-stream"} == {
        "application/json",
        "image/png",
        "image/jpeg",
    }
