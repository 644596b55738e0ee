"""Over a real server, with the tests' own weights."""

import io
import zipfile
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.types import ASGIApp

from services.svbrdf.app import create
from sightline.inference.weights import Weights
from tests.services.prediction import alterations_in, ready_client

Png = Callable[..., bytes]
Serve = Callable[[ASGIApp], str]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, mirror: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(mirror.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


def test_photo_in_maps_material_and_record_out(client: httpx2.Client, png: Png, wall: NDArray[np.uint8]) -> None:
    photo = png(wall)
    reply = client.post("/v1/svbrdf?fov_deg=65", content=photo, headers={"content-type": "image/png"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/zip"
    assert reply.headers["x-sightline-model"].startswith("svbrdf@1.0+")
    assert "normal.png" in zipfile.ZipFile(io.BytesIO(reply.content)).namelist()
    material = client.post("/v1/svbrdf", files={"image": photo}, headers={"accept": "model/gltf-binary"})
    assert material.headers["content-type"] == "model/gltf-binary"
    assert material.content.startswith(b"glTF")
    relit = client.post("/v1/svbrdf", files={"image": photo}, headers={"accept": "image/png"})
    assert alterations_in(relit.content, "image/png") == ["relit"]
    record = client.post("/v1/svbrdf", files={"image": photo}, headers={"accept": "application/json"}).json()
    assert record["material"]["type"] == "wood"
    assert "rerender_rmse" in record


@pytest.mark.parametrize("options", [{"fov_deg": "400"}, {"linear": "perhaps"}, {"depth": "12"}, {"ev": "1"}])
def test_unsupported_requests_are_problems(client: httpx2.Client, png: Png, options: dict[str, str]) -> None:
    reply = client.post("/v1/svbrdf", files={"image": png(np.zeros((50, 60, 3), np.uint8))}, data=options)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


def test_documentation_names_options_and_formats(client: httpx2.Client) -> None:
    route = client.get("/openapi.json").json()["paths"]["/v1/svbrdf"]["post"]
    form = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {
        "image",
        "fov_deg",
        "linear",
        "depth",
        "refine",
        "light_azimuth_deg",
        "light_elevation_deg",
        "frames",
    } <= set(form)
    assert set(route["responses"]["200"]["content"]) - {"application/octet-stream"} == {
        "application/zip",
        "model/gltf-binary",
        "image/png",
        "image/apng",
        "image/gif",
        "image/x-exr",
        "application/json",
    }
