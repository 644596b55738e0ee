"""Requests to a real server with tiny weights."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from zipfile import ZipFile

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.types import ASGIApp

from services.inpaint.app import create
from sightline.evidence.canonical_json import from_header
from sightline.imaging.private_metadata import PrivateMetadata, find_private_metadata
from sightline.inference.weights import Weights
from tests.services.prediction import alterations_in, ready_client

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


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_filled_photo_says_so_in_its_content_credentials(client: httpx2.Client, png: Png, media_type: str) -> None:
    photo = png(np.full((50, 60, 3), 90, np.uint8))
    fields = {"regions": '{"boxes": [[5, 6, 30, 20]]}'}
    reply = client.post("/v1/inpaint", files={"image": photo}, data=fields, headers={"accept": media_type})
    assert alterations_in(reply.content, media_type) == ["inpainted"]
    shown = client.post("/v1/inpaint?output=map", files={"image": photo}, data=fields)
    assert b"c2pa" not in shown.content


def test_archive_has_photo_map_and_record(client: httpx2.Client, png: Png) -> None:
    photo, fields = png(np.full((50, 60, 3), 90, np.uint8)), {"regions": '{"boxes": [[5, 6, 30, 20]]}'}
    reply = client.post("/v1/inpaint", files={"image": photo}, data=fields, headers={"accept": "application/zip"})
    with ZipFile(io.BytesIO(reply.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {"filled.png", "map.png", "record.json"}
    assert alterations_in(files["filled.png"], "image/png") == ["inpainted"]
    assert np.asarray(Image.open(io.BytesIO(files["map.png"]))).sum() == 25 * 14 * 255
    record = json.loads(files["record.json"])
    digests = {each["name"]: each["sha256"] for each in record["evidence"]["results"]}
    for name in ("filled.png", "map.png"):
        assert digests[name] == hashlib.sha256(files[name]).hexdigest()
    assert record["evidence"]["synthesised_share"] == pytest.approx(25 * 14 / 3000, abs=1e-6)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_position_and_serial_numbers_are_removed_and_the_record_says_so(client: httpx2.Client, media_type: str) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})
    exif.get_ifd(0x8769).update({0xA431: "SN-4711"})
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><aux:SerialNumber>SN-4711</aux:SerialNumber></x:xmpmeta>'
    Image.new("RGB", (60, 50), (90, 80, 70)).save(file, "JPEG", exif=exif.tobytes(), xmp=xmp)
    fields = {"regions": '{"boxes": [[5, 6, 30, 20]]}'}
    reply = client.post("/v1/inpaint", files={"image": file.getvalue()}, data=fields, headers={"accept": media_type})
    assert reply.status_code == 200, reply.text
    record = from_header(reply.headers["x-sightline-evidence"])
    assert (record["gps_removed"], record["serial_numbers_removed"]) == (True, True)
    assert find_private_metadata(reply.content) == PrivateMetadata(gps=False, serial_numbers=False)
    assert b"4711" not in reply.content
    left = Image.open(io.BytesIO(reply.content)).getexif()
    assert set(left) <= {0x0112}


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
        "application/zip",
    }
