"""Typed methods of both clients against the real services, gateway, Redis and workers that `make up` starts."""

import asyncio
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from sightline import AsyncClient, Client
from sightline.client import BadMask, Expired, JobStatus, NotFound, PictureInput, Unreadable
from sightline.evidence.bundle import read_files
from sightline.evidence.verification import verify
from tests.scripts import load_script

ROOT = Path(__file__).parents[2]
PHOTO, MASK, SURFACE = ROOT / "samples" / "photo.jpg", ROOT / "samples" / "mask.png", ROOT / "samples" / "surface.jpg"
PERSON = ROOT / "samples" / "astronaut.jpg"


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def opened(path: Path) -> Image.Image:
    """Returns the picture without an open file."""
    with Image.open(path) as image:
        image.load()
        return image


def test_inpaint_takes_paths_arrays_and_images(client: Client, tmp_path: Path) -> None:
    by_path = client.inpaint(PHOTO, MASK)
    photo, holes = np.asarray(opened(PHOTO)), np.asarray(opened(MASK).convert("L")) > 127
    by_array = client.inpaint(photo, holes)
    by_image = client.inpaint(opened(PHOTO), opened(MASK))
    for result in (by_path, by_array, by_image):
        assert result.image.size == opened(PHOTO).size
        assert result.synthesised_share == pytest.approx(holes.mean(), abs=1e-3)
    assert np.array_equal(by_array.array[~holes], photo[~holes])
    assert not np.array_equal(by_array.array[holes], photo[holes])
    assert by_path.evidence.input_sha256 == hashlib.sha256(PHOTO.read_bytes()).hexdigest()
    assert by_path.evidence.model
    assert by_path.evidence.model.startswith("inpaint@")
    assert opened(by_path.save(tmp_path / "out.png")).size == by_path.image.size


def test_hdr_correct_returns_photo_and_scene(client: Client) -> None:
    dark = (np.asarray(opened(PHOTO)) // 4).astype(np.uint8)
    assert client.hdr_correct(dark).array.mean() > dark.mean()
    scene = client.hdr_correct(dark, format="exr")
    assert scene.media_type == "image/x-exr"
    assert scene.data.startswith(b"\x76\x2f\x31\x01")
    everything = client.hdr_correct(dark, format="zip")
    assert everything.map.image.size == everything.files["corrected.png"].image.size
    assert everything.synthesised_share == pytest.approx((everything.map.array == 255).mean(), abs=1e-6)


def test_result_has_a_record_that_verifies_with_the_files(client: Client, tmp_path: Path) -> None:
    everything = client.inpaint(PHOTO, MASK, format="zip", method="network")
    everything.save(tmp_path / "filled.zip")
    assert everything.synthesised_share == pytest.approx((everything.map.array == 255).mean(), abs=1e-6)
    assert verify(read_files([PHOTO, MASK, tmp_path / "filled.zip"])).holds
    filled = client.inpaint(PHOTO, MASK, method="network")
    paths = [filled.save(tmp_path / "filled.png"), filled.evidence.save(tmp_path / "filled.png.json")]
    assert filled.evidence.parameters["method"] == "network"
    assert filled.evidence.result_sha256 == (hashlib.sha256(filled.data).hexdigest(),)
    assert not filled.evidence.is_signed
    assert not filled.evidence.is_deterministic
    assert verify(read_files([PHOTO, MASK, *paths])).holds
    assert not verify(read_files([PHOTO, *paths])).holds


def test_screen_returns_probabilities(client: Client) -> None:
    result = client.screen(PHOTO, threshold=0.0)
    assert sum(result.probabilities.values()) == pytest.approx(1, abs=0.01)
    assert result.decision == max(result.probabilities, key=lambda name: result.probabilities[name])
    assert result.evidence.record
    assert result.evidence.record["parameters"]["threshold"] == 0


def test_interactions_refer_to_detections(client: Client) -> None:
    result = client.interactions(PERSON, min_score=0.01)
    assert result.people
    assert result.interactions
    assert all(each.person in result.people for each in result.interactions)
    overlay = client.predict("hoi", {"image": PERSON}, accept="image/png")
    assert min(overlay.image.size) >= 512


def test_material_returns_maps_and_record(client: Client) -> None:
    result = client.material(SURFACE)
    assert result.maps["normal"].image.size == opened(SURFACE).size
    assert result.type in result.probabilities
    assert result.evidence.record == result.record["evidence"]
    assert client.predict("svbrdf", {"image": SURFACE}, accept="model/gltf-binary").data.startswith(b"glTF")


def test_bad_input_has_its_own_errors(client: Client) -> None:
    with pytest.raises(Unreadable):
        client.screen(b"no picture")
    with pytest.raises(BadMask) as caught:
        client.inpaint(PHOTO)
    assert caught.value.request_id


def test_job_can_be_followed_and_deleted(client: Client) -> None:
    job = client.inpaint(PHOTO, MASK, wait=False)
    states = [event.name for event in job.events()]
    assert states[-1] == "succeeded"
    seen: list[JobStatus] = []
    result = job.result(seen.append)
    assert np.array_equal(result.array, client.inpaint(PHOTO, MASK).array)
    assert seen[-1].is_final
    job.cancel()
    with pytest.raises((Expired, NotFound)):
        job.result()


def test_large_picture_becomes_a_job_by_itself(client: Client) -> None:
    file = io.BytesIO()
    opened(PHOTO).resize((5000, 3400)).save(file, "JPEG")
    seen: list[JobStatus] = []
    result = client.screen(file, progress=seen.append)
    assert result.record["results"][0]["width"] == 5000
    assert seen[-1].state == "succeeded"


def test_batch_continues_after_a_broken_file(client: Client) -> None:
    pictures: list[PictureInput] = [PHOTO, b"broken", PERSON]
    outcomes = list(client.map(client.screen, pictures))
    assert len([each for each in outcomes if each.result]) == 2
    assert [type(each.error) for each in outcomes if each.error] == [Unreadable]


def test_api_reference_is_written_from_the_document_of_a_real_fleet(address: str) -> None:
    script = load_script(ROOT / "deploy" / "api_reference.py")
    assert httpx2.get(f"{address}/openapi.json").json() == json.loads(json.dumps(script.load_document()))


def test_pictures_of_the_documentation_can_be_made_again(address: str, tmp_path: Path) -> None:
    script = load_script(ROOT / "deploy" / "docs_pictures.py")
    script.write_pictures(address, tmp_path)
    made = {file.name: opened(file).size for file in tmp_path.iterdir()}
    assert made == {file.name: opened(file).size for file in script.FOLDER.iterdir()}
    assert all(file.stat().st_size <= script.MAX_BYTES for file in script.FOLDER.iterdir())


def test_async_client_gives_the_same_results(client: Client, address: str) -> None:
    async def run() -> None:
        async with AsyncClient(address) as asynchronous:
            filled, screened = await asyncio.gather(
                asynchronous.inpaint(PHOTO, MASK), asynchronous.screen(PHOTO, wait=True)
            )
            job = await asynchronous.hdr_correct(PHOTO, wait=False)
            names = [event.name async for event in job.events()]
            assert names[-1] == "succeeded"
            corrected = await job.result()
            assert np.array_equal(corrected.array, client.hdr_correct(PHOTO).array)
            assert np.array_equal(filled.array, client.inpaint(PHOTO, MASK).array)
            assert screened.probabilities == client.screen(PHOTO).probabilities
            async for outcome in asynchronous.map(asynchronous.screen, [PHOTO, PERSON]):
                assert outcome.result

    asyncio.run(run())
