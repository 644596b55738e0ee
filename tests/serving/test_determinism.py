"""Equal bytes from independent processes, with other numbers of threads and amid other requests."""

import io
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image

from sightline.api.declaration import route_of
from sightline.cli.models import sample_pictures
from sightline.evidence.canonical_json import from_header
from tests.services.service_process import ServiceProcess, running_service

LIMIT_S = 120.0
# Exposure correction gives other bytes with other numbers of threads unless the mode fixes them.
MODEL = "hdr_correct"


def send(service: ServiceProcess, image: bytes) -> httpx2.Response:
    reply = httpx2.post(service.url + route_of(MODEL), files={"image": image}, timeout=LIMIT_S)
    assert reply.status_code == 200, reply.text
    return reply


def record_of(reply: httpx2.Response) -> Mapping[str, Any]:
    return from_header(reply.headers["x-sightline-evidence"])


def other_photo(image: bytes, seed: int) -> bytes:
    with Image.open(io.BytesIO(image)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    file = io.BytesIO()
    Image.fromarray(np.roll(pixels, 17 * seed, axis=0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def photo() -> bytes:
    return sample_pictures(MODEL)["image"].read_bytes()


def test_two_processes_give_the_same_bytes_alone_and_amid_other_requests(photo: bytes) -> None:
    mode = {"SIGHTLINE_DETERMINISTIC": "true"}
    with running_service(MODEL, **mode, SIGHTLINE_INTRA_OP_THREADS="1", SIGHTLINE_CODEC_THREADS="1") as first:
        alone = send(first, photo)
    others = [other_photo(photo, seed) for seed in range(1, 5)]
    with (
        running_service(MODEL, **mode, SIGHTLINE_INTRA_OP_THREADS="2", SIGHTLINE_CODEC_THREADS="4") as second,
        ThreadPoolExecutor(6) as clients,
    ):
        replies = list(clients.map(lambda image: send(second, image), [*others[:2], photo, *others[2:], photo]))
    assert replies[2].content == replies[5].content == alone.content
    assert all(record_of(reply)["deterministic"] for reply in (alone, *replies))
    assert replies[0].content != alone.content


def test_service_without_the_mode_says_so(photo: bytes) -> None:
    with running_service(MODEL) as service:
        record = record_of(send(service, photo))
    assert record["deterministic"] is False
    # The picture has content credentials, whose bytes differ in every run.
    assert record["results"][0]["uncredentialed_sha256"] != record["results"][0]["sha256"]
