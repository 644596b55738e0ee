"""The weights in the repository, on the photo in the repository."""

from collections.abc import Iterator

import httpx2
import pytest

from services.hoi.app import create
from sightline.cli.models import sample_pictures
from tests.services.hoi.test_app import Serve
from tests.services.prediction import ready_client


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


def test_shipped_weights_find_the_smiling_astronaut(client: httpx2.Client) -> None:
    (photo,) = sample_pictures("hoi").values()
    record = client.post("/v1/hoi", content=photo.read_bytes(), headers={"content-type": "image/jpeg"}).json()

    surest = record["detections"][0]
    left, top, right, bottom = surest["box_xyxy"]
    assert surest["label"] == "person"
    assert surest["score"] > 0.5
    assert left < 0.45 * record["width"] < right
    assert top < 0.3 * record["height"] < 0.7 * record["height"] < bottom
    done = {each["action"]: each["score"] for each in record["interactions"] if each["person"] == surest["id"]}
    assert done["smile"] > max(done.get(action, 0) for action in ("ride", "surf", "ski", "eat"))
