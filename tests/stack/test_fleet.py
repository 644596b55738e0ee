"""The fleet in containers, used from outside as a newcomer would."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import httpx2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from sightline.api.declaration import route_of
from sightline.cli.models import find_models, sample_pictures
from tests.imaging import hostile
from tests.stack.compose import PARTS, Stack, until

pytestmark = pytest.mark.stack

MODELS = find_models()


def files_for(model: str) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in sample_pictures(model).items()}


@pytest.mark.parametrize("model", MODELS)
def test_a_real_photo_goes_through_every_route(stack: Stack, model: str) -> None:
    reply = httpx2.post(f"{stack.gateway}{route_of(model)}", files=files_for(model), timeout=120)
    assert reply.status_code == 200, reply.text
    assert reply.headers["X-Sightline-Model"].startswith(f"{model}@")
    assert len(reply.content) > 100


@pytest.mark.parametrize("model", MODELS)
def test_the_same_photo_goes_through_the_queue(stack: Stack, model: str) -> None:
    headers = {"Prefer": "respond-async"}
    accepted = httpx2.post(f"{stack.gateway}{route_of(model)}", files=files_for(model), headers=headers)
    assert accepted.status_code == 202, accepted.text
    job = stack.gateway + accepted.headers["location"]
    until(lambda: httpx2.get(job).json()["state"] == "succeeded")
    result = httpx2.get(f"{job}/result")
    assert result.status_code == 200
    assert result.headers["X-Sightline-Model"].startswith(f"{model}@")


def photo() -> Image.Image:
    return Image.open(io.BytesIO(files_for("hra_screening")["image"])).convert("RGB").resize((320, 240))


def by_pillow(form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    photo().save(file, form, **options)
    return file.getvalue()


def tiff(compression: str) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(photo()), photometric="rgb", compression=compression)
    return file.getvalue()


def heic() -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(photo()).save(file, quality=80)
    return file.getvalue()


def png_of_16_bits() -> bytes:
    return bytes(imagecodecs.png_encode(np.asarray(photo()).astype(np.uint16) * 257))


PICTURES: dict[str, Callable[[], bytes]] = {
    "jpeg": partial(by_pillow, "JPEG"),
    "jpeg, progressive": partial(by_pillow, "JPEG", progressive=True),
    "png": partial(by_pillow, "PNG"),
    "png, 16 bits": png_of_16_bits,
    "webp": partial(by_pillow, "WEBP"),
    "avif": partial(by_pillow, "AVIF"),
    "heic": heic,
    **{f"tiff, {name}": partial(tiff, name) for name in ("none", "lzw", "zlib", "packbits", "jpeg", "zstd", "lzma")},
}


@pytest.mark.parametrize("form", PICTURES)
def test_the_image_reads_every_form_of_picture_that_the_project_reads(stack: Stack, form: str) -> None:
    """Codecs were taken out of the images: what is answered here must be what a whole installation answers."""
    from sightline.imaging.decoder.in_process import decode
    from sightline.imaging.limits import PixelLimits

    data = PICTURES[form]()
    try:
        decode(data, PixelLimits(max_bytes=len(data), max_pixels=10**7, max_side_px=10**4))
        expected = 200
    except Exception as refusal:
        expected = getattr(refusal, "status", 0)
    reply = httpx2.post(f"{stack.gateway}/v1/hdr-correct", files={"image": data}, timeout=120)
    assert reply.status_code == expected, reply.text[:300]
    if expected == 200:
        answer = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
        assert answer is not None
        assert answer.shape == (240, 320, 3)


def test_only_the_gateway_can_be_reached(stack: Stack) -> None:
    stack.client.ping()
    published = {
        service: [port for bindings in container.ports.values() for port in bindings or ()]
        for service in PARTS
        for container in stack.containers(service)
    }
    assert [service for service, ports in published.items() if ports] == ["gateway", "prometheus"]  # here for the tests
    assert all(port["HostIp"] == "127.0.0.1" for ports in published.values() for port in ports)
    fleet = stack.client.networks.get(stack.containers("redis")[0].attrs["NetworkSettings"]["Networks"].popitem()[0])
    assert fleet.attrs["Internal"]


def test_redis_wants_its_password(stack: Stack) -> None:
    (redis,) = stack.containers("redis")
    _, without = redis.exec_run(["redis-cli", "ping"])
    assert b"NOAUTH" in without
    asked = "REDISCLI_AUTH=$(cat /run/sightline/redis-password) redis-cli config get"
    assert redis.exec_run(["sh", "-c", f"{asked} maxmemory-policy"])[1].split() == [b"maxmemory-policy", b"noeviction"]
    assert redis.exec_run(["sh", "-c", f"{asked} appendfsync"])[1].split() == [b"appendfsync", b"always"]


ASK_DIRECTLY = """
import sys, urllib.error, urllib.request
request = urllib.request.Request("http://inpaint:8000" + sys.argv[1], data=b"x", headers=dict([sys.argv[2].split("=")]))
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as refusal:
    print(refusal.code)
"""


@pytest.mark.parametrize("path", ["/v1/inpaint", "/v1/inpaint/", "/v2/models/inpaint/infer"])
@pytest.mark.parametrize("header", ["Accept=*/*", "X-Sightline-Fleet-Credential=0123456789abcdef0123456789abcdef"])
def test_a_model_answers_nobody_who_lacks_the_credential(stack: Stack, path: str, header: str) -> None:
    """Asked from within its network, as a container that was taken over would."""
    (gateway,) = stack.containers("gateway")
    assert gateway.exec_run(["python", "-c", ASK_DIRECTLY, path, header])[1].split() == [b"401"]


@pytest.mark.parametrize("host", ["photos.example.org", "gateway.example.org", "localhost.example.org"])
def test_the_gateway_answers_to_its_own_names_alone(stack: Stack, host: str) -> None:
    assert httpx2.get(f"{stack.gateway}/v1/jobs", headers={"Host": host}).status_code == 421


def test_only_prometheus_learns_the_addresses_of_replicas(stack: Stack) -> None:
    assert httpx2.get(f"{stack.gateway}/metrics/targets").status_code == 401
    watched = 'count by (job) (up{job=~"gateway|model"} == 1)'
    until(lambda: [value for each in stack.query(watched) for value in each["value"][1:]] == ["1", str(len(MODELS))])


def test_a_hostile_picture_is_ended_within_the_container(stack: Stack) -> None:
    """Its process is found by the service's limits, forked and killed as everywhere else."""
    slow = hostile.png(surplus_mb=20_000)
    refused = httpx2.post(f"{stack.gateway}/v1/hdr-correct", files={"image": slow}, timeout=120)
    assert (refused.status_code, refused.json()["limit"]) == (400, "time")
    reply = httpx2.post(f"{stack.gateway}/v1/hdr-correct", files={"image": tiff("lzw")}, timeout=120)
    assert reply.status_code == 200


@pytest.mark.parametrize("model", MODELS)
def test_a_service_knows_what_its_container_may_take(stack: Stack, model: str) -> None:
    (container,) = stack.containers(model.replace("_", "-"))
    ask = "from sightline.runtime import resources as s; print(s.available_cores(), s.available_memory_bytes())"
    limits = container.attrs["HostConfig"]
    cores, memory_bytes = map(int, container.exec_run(["python", "-c", ask])[1].split())
    assert memory_bytes <= limits["Memory"]
    assert cores <= max(1, limits["NanoCpus"] // 10**9)


def test_pictures_of_jobs_are_their_owners_alone(stack: Stack) -> None:
    (gateway,) = stack.containers("gateway")
    assert gateway.exec_run(["find", "/blobs", "-type", "f", "-name", "store-id"])[1]
    assert gateway.exec_run(["find", "/blobs", "-perm", "/077"])[1] == b""
