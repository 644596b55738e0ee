"""Over a real server, with the tests' own weights."""

import hashlib
from collections.abc import Callable, Iterator

import httpx2
import numpy as np
import pytest
from starlette.types import ASGIApp

from services.hoi.app import create
from services.hoi.schemas import HoiOptions
from sightline.inference.weights import Weights
from tests.services.hoi.conftest import LONGEST_PX, Png, Scene
from tests.services.prediction import ready_client

Serve = Callable[[ASGIApp], str]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, blobs: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(blobs.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


@pytest.fixture
def photo(png: Png, scene: Scene) -> bytes:
    return png(scene(("red", 100, 100, 200, 250), ("blue", 90, 250, 210, 400)))


def test_photo_in_triplets_out(client: httpx2.Client, photo: bytes) -> None:
    reply = client.post("/v1/hoi?min_score=0.3", content=photo, headers={"content-type": "image/png"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-sightline-model"].startswith("hoi@1.0+")
    assert reply.headers["x-sightline-input-sha256"] == hashlib.sha256(photo).hexdigest()
    record = reply.json()
    assert [each["label"] for each in record["detections"]] == ["person", "bicycle"]
    (ride,) = [each for each in record["interactions"] if each["action"] == "ride"]
    assert (ride["person"], ride["role"], ride["object"]) == (0, "instr", 1)
    assert record["evidence"]["parameters"]["min_score"] == 0.3
    assert record["evidence"]["model"]["weights_sha256"] in client.get("/readyz").text


def test_every_documented_media_type_is_rendered(client: httpx2.Client, photo: bytes) -> None:
    route = client.get("/openapi.json").json()["paths"]["/v1/hoi"]["post"]
    forms = set(route["responses"]["200"]["content"]) - {"application/octet-stream"}
    assert forms == {
        "application/json",
        "image/png",
        "image/jpeg",
        "application/ld+json",
        "application/graphml+xml",
    }
    for media_type in forms:
        reply = client.post("/v1/hoi", files={"image": photo}, headers={"accept": media_type})
        assert (reply.status_code, reply.headers["content-type"]) == (200, media_type)
    assert client.post("/v1/hoi", files={"image": photo}, headers={"accept": "image/x-exr"}).status_code == 406
    fields = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"image", *HoiOptions.model_fields}
    assert all("description" in each for each in fields.values())


@pytest.mark.parametrize(
    "options", [{"min_score": "2"}, {"min_score": "nan"}, {"max_people": "-1"}, {"frame": "turned"}, {"tile": "1"}]
)
def test_unsupported_requests_are_problems(client: httpx2.Client, photo: bytes, options: dict[str, str]) -> None:
    reply = client.post("/v1/hoi", files={"image": photo}, data=options)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


def test_unreadable_picture_is_a_problem(client: httpx2.Client) -> None:
    assert client.post("/v1/hoi", files={"image": b"no picture"}).status_code in (400, 415)


def test_open_inference_protocol_returns_the_tensors(client: httpx2.Client) -> None:
    blank = np.zeros((1, LONGEST_PX, LONGEST_PX, 3), int)
    tensor = {"name": "image", "shape": blank.shape, "datatype": "UINT8", "data": blank.ravel().tolist()}
    reply = client.post("/v2/models/hoi/infer", json={"inputs": [tensor]})
    assert reply.status_code == 200, reply.text
    outputs = {each["name"]: each for each in reply.json()["outputs"]}
    assert outputs["boxes"]["shape"] == [1, 100, 4]
    assert outputs["targets"]["shape"] == [1, 100, 4, 4]
    assert not any(outputs["scores"]["data"])


def test_stages_are_measured(client: httpx2.Client, photo: bytes) -> None:
    timing = client.post("/v1/hoi", files={"image": photo}).headers["server-timing"]
    assert {"decode", "infer", "encode"} <= {each.split(";")[0] for each in timing.split(", ")}
