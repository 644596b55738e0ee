"""Over a real server, with the tests' own weights."""

import io
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.types import ASGIApp

from services.hdr_correct.app import create
from sightline.inference.weights import Weights
from tests.services.prediction import alterations_in, ready_client

Png = Callable[..., bytes]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, curves: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(curves.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


def test_photo_in_photo_scene_and_record_out(client: httpx2.Client, png: Png) -> None:
    photo = png(np.random.default_rng(0).integers(0, 90, (90, 120, 3), np.uint8))
    reply = client.post("/v1/hdr-correct?strength=0.8", content=photo, headers={"content-type": "image/png"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/png"
    assert reply.headers["x-sightline-model"].startswith("hdr_correct@1.0+")
    assert np.asarray(Image.open(io.BytesIO(reply.content))).shape == (90, 120, 3)
    assert alterations_in(reply.content, "image/png") == ["exposure-corrected"]
    scene = client.post("/v1/hdr-correct", files={"image": photo}, headers={"accept": "image/vnd.radiance"})
    assert scene.headers["content-type"] == "image/vnd.radiance"
    assert scene.content.startswith(b"#?RADIANCE")
    record = client.post("/v1/hdr-correct", files={"image": photo}, headers={"accept": "application/json"}).json()
    assert set(record["exposure"]) == {"before", "after"}


@pytest.mark.parametrize("options", [{"strength": "2"}, {"strength": "much"}, {"depth": "12"}, {"ev": "1"}])
def test_unsupported_requests_are_problems(client: httpx2.Client, png: Png, options: dict[str, str]) -> None:
    reply = client.post("/v1/hdr-correct", files={"image": png(np.zeros((50, 60, 3), np.uint8))}, data=options)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


def test_documentation_names_options_and_formats(client: httpx2.Client) -> None:
    route = client.get("/openapi.json").json()["paths"]["/v1/hdr-correct"]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"image", "strength", "depth", "output"}
    assert set(route["responses"]["200"]["content"]) - {"application/octet-stream"} == {
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/vnd.radiance",
        "image/x-exr",
        "application/zip",
        "application/json",
    }
