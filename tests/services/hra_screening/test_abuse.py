"""Pictures made to keep the service busy, beside those of an innocent caller, over a real server."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from starlette.types import ASGIApp

from services.hra_screening.app import create
from sightline.imaging.decoder import pool as decoder_pool
from sightline.inference.weights import Weights
from tests.imaging import hostile

Plain = Callable[..., bytes]
Serve = Callable[[ASGIApp], str]

ROUTE = "/v1/hra-screening"
PATIENCE_S = 20.0
PHOTO = (Path(__file__).parents[3] / "samples" / "photo.jpg").read_bytes()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, colours: Weights) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(colours.path))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    monkeypatch.setenv("SIGHTLINE_CODEC_THREADS", "1")
    monkeypatch.setenv("SIGHTLINE_MAX_DECODE_S", "1")
    monkeypatch.setenv("SIGHTLINE_MAX_REQUEST_PIXELS", "1000000")
    with httpx2.Client(base_url=serve(create()), timeout=120) as client:
        give_up_at = time.monotonic() + PATIENCE_S
        while client.get("/readyz").status_code != 200 and time.monotonic() < give_up_at:
            time.sleep(0.02)
        yield client
    decoder_pool.stop()


def post(client: httpx2.Client, data: bytes) -> httpx2.Response:
    return client.post(ROUTE, files={"image": data}, headers={"X-Sightline-Deadline-Ms": "60000"})


def test_slow_pictures_do_not_delay_other_callers(client: httpx2.Client) -> None:
    """One thread for codecs, eight pictures of a second each and more, and ten photos that are all answered."""
    slow = hostile.png(surplus_mb=20_000)
    with ThreadPoolExecutor(8) as pool:
        attacks = [pool.submit(post, client, slow) for _ in range(8)]
        time.sleep(0.3)
        innocent = [post(client, PHOTO).status_code for _ in range(10)]
        alive = client.get("/livez").status_code
        unanswered = sum(not attack.done() for attack in attacks)
        replies = [attack.result() for attack in attacks]
    assert innocent == [200] * 10
    assert alive == 200
    assert unanswered >= 4
    refused = [reply.json() for reply in replies if reply.status_code == 400]
    assert refused
    assert all((each["code"], each["limit"]) == ("unreadable_image", "time") for each in refused)
    assert {reply.status_code for reply in replies} <= {400, 503, 504}
    ended = 'sightline_ended_decoders_total{model="hra_screening",reason="time"}'
    (line,) = (line for line in client.get("/metrics").text.splitlines() if line.startswith(ended))
    assert float(line.rpartition(" ")[2]) >= len(refused)


def test_picture_beyond_its_decoding_time_fails_alone(client: httpx2.Client, plain: Plain) -> None:
    files = [("image", plain("red")), ("image", hostile.png(surplus_mb=20_000)), ("image", plain("blue"))]
    found = client.post(ROUTE, files=files, headers={"X-Sightline-Deadline-Ms": "60000"}).json()["results"]
    assert [each.get("decision") for each in found] == ["arms", None, "out_of_school"]
    assert "too long" in found[1]["problem"]["detail"]


def test_disconnected_client_frees_its_decoder(client: httpx2.Client) -> None:
    slow = hostile.png(surplus_mb=20_000)
    for _ in range(10):
        with pytest.raises(httpx2.ReadTimeout):
            client.post(ROUTE, files={"image": slow}, timeout=httpx2.Timeout(10, read=0.2))
    reply = post(client, hostile.saved("TIFF", 60))
    assert reply.status_code == 200, reply.text


def test_pixels_of_all_pictures_are_limited_together(client: httpx2.Client) -> None:
    pictures = [("image", hostile.saved("PNG", 600)) for _ in range(3)]
    assert client.post(ROUTE, files=pictures[:2]).status_code == 200
    reply = client.post(ROUTE, files=pictures)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_many_pixels")
    assert (reply.json()["pixels"], reply.json()["max_request_pixels"]) == (1_080_000, 1_000_000)


def test_pictures_have_no_content_encoding(client: httpx2.Client) -> None:
    reply = client.post(ROUTE, content=PHOTO, headers={"content-type": "image/jpeg", "content-encoding": "gzip"})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_format")
