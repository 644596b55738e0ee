"""Requests to a real server with tiny weights."""

import io
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.types import ASGIApp

from services.inpaint.app import create
from sightline.inference.weights import Weights
from tests.services.prediction import ready_client

Png = Callable[..., bytes]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, shipped_like: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(shipped_like.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


def test_photo_and_mask_return_a_picture(client: httpx2.Client, png: Png) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    mask = np.zeros((300, 400), np.uint8)
    mask[100:200, 150:260] = 255
    reply = client.post("/v1/inpaint", files={"image": png(pixels), "mask": png(mask)})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/png"
    assert reply.headers["x-sightline-synthesised-share"] == "0.091667"
    back = np.asarray(Image.open(io.BytesIO(reply.content)))
    assert np.array_equal(back[mask == 0], pixels[mask == 0])


def test_transparent_picture_as_bare_body(client: httpx2.Client, png: Png) -> None:
    pixels = np.full((50, 60, 4), 120, np.uint8)
    pixels[10:20, 10:20] = 0
    pixels[..., 3][pixels[..., 3] > 0] = 255
    reply = client.post("/v1/inpaint?output=map", content=png(pixels), headers={"content-type": "image/png"})
    back = np.asarray(Image.open(io.BytesIO(reply.content)))
    assert back.shape == (50, 60)
    assert back.sum() == 100 * 255


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "bad_mask"),
        ({"regions": '{"boxes": [[0, 0, 60, 50]]}'}, "bad_mask"),
        ({"regions": "{"}, "invalid_request"),
        ({"regions": '{"circles": []}'}, "invalid_request"),
        ({"format": "bmp"}, "invalid_request"),
    ],
)
def test_bad_requests_return_problems(client: httpx2.Client, png: Png, options: dict[str, str], code: str) -> None:
    reply = client.post("/v1/inpaint", files={"image": png(np.zeros((50, 60, 3), np.uint8))}, data=options)
    assert (reply.status_code, reply.json()["code"]) == (400, code)


def test_documentation_lists_the_options(client: httpx2.Client) -> None:
    route = client.get("/openapi.json").json()["paths"]["/v1/inpaint"]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"image", "mask", "regions", "format", "output"} <= set(form)
    assert set(route["responses"]["200"]["content"]) - {"application/octet-stream"} == {
        "image/png",
        "image/jpeg",
        "image/webp",
        "application/json",
    }
