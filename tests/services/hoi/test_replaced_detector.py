"""The service with a detector of its own in front: boxes come from it, features and actions from the model."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import onnx
import pytest
from starlette.types import ASGIApp

from services.hoi.app import create
from services.hoi.predictor import HoiPredictor
from sightline.inference.contract import ContractError
from sightline.inference.engine import open_session
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.hoi.conftest import LABELS, LONGEST_PX, SCORES, Png, Scene, detector_graph
from tests.services.prediction import Ask, make_ask, ready_client

Serve = Callable[[ASGIApp], str]
CYCLIST = (("red", 100, 100, 200, 250), ("blue", 90, 250, 210, 400))
HIGHER = {name: score + 0.05 for name, score in SCORES.items()}
CLASSES = ("dog", "unicorn", "bicycle", "person")
CONTRACT = f"""
task = "detection"
name = "colours"
version = "2"

[input]
tensor = "image"
size = [96, 160]
resize = "RESIZE"

[output]
decoder = "boxes"
tensors = ["boxes", "scores", "labels"]
classes = {list(CLASSES)}

[facts.thresholds]
interaction = 0.2
"""


@pytest.fixture(params=["stretch", "letterbox"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    onnx.save(detector_graph(HIGHER, CLASSES), tmp_path / "colours.onnx")
    (tmp_path / "colours.toml").write_text(CONTRACT.replace("RESIZE", request.param))
    return tmp_path


@pytest.fixture
def with_colours(settings: ServiceSettings, folder: Path) -> ServiceSettings:
    return settings.model_copy(update={"detector": folder})


@pytest.fixture
def predictor(blobs: Weights, with_colours: ServiceSettings) -> HoiPredictor:
    return HoiPredictor(blobs, with_colours)


@pytest.fixture
def ask_colours(predictor: HoiPredictor, with_colours: ServiceSettings) -> Ask:
    return make_ask(predictor, predictor.weights, with_colours, accept="application/json")


def record_of(ask: Ask, data: bytes, **options: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(ask(data, **options).body)
    return record


def test_boxes_scores_and_labels_are_the_detectors(ask_colours: Ask, png: Png, scene: Scene) -> None:
    record = record_of(ask_colours, png(scene(*CYCLIST)))

    assert [each["label"] for each in record["detections"]] == ["person", "bicycle"]
    assert [each["score"] for each in record["detections"]] == pytest.approx([0.95, 0.75])
    for thing, (_, *corners) in zip(record["detections"], CYCLIST, strict=True):
        assert thing["box_xyxy"] == pytest.approx(corners, abs=5)  # a pixel of the detector has 4 to 5 of the photo


def test_contract_of_the_detector_replaces_thresholds_only(predictor: HoiPredictor) -> None:
    assert predictor.facts.thresholds.interaction == 0.2
    assert predictor.facts.thresholds.empty_role == 0.05
    assert predictor.facts.sigma == 0.5


def test_actions_are_those_of_the_model(ask: Ask, ask_colours: Ask, png: Png, scene: Scene) -> None:
    data = png(scene(*CYCLIST))
    own, replaced = record_of(ask, data, min_score=0), record_of(ask_colours, data, min_score=0)

    walks = [next(each for each in record["interactions"] if each["action"] == "walk") for record in (own, replaced)]
    assert walks[0]["factors"]["action"] == walks[1]["factors"]["action"]
    rides = [next(each for each in record["interactions"] if each["action"] == "ride") for record in (own, replaced)]
    assert [each["object"] for each in rides] == [1, 1]
    assert rides[1]["factors"]["target"] == pytest.approx(rides[0]["factors"]["target"], abs=0.05)


def test_tiles_are_analysed_by_the_detector(ask_colours: Ask, png: Png, scene: Scene) -> None:
    photo = scene(("red", 1000, 500, 1010, 515), ("blue", 1000, 515, 1012, 530), width=1600, height=1200)

    record = record_of(ask_colours, png(photo), tiles=True)

    assert {each["label"] for each in record["detections"]} == {"person", "bicycle"}
    assert record["detections"][0]["box_xyxy"] == pytest.approx([1000, 500, 1010, 515], abs=4)
    assert record["sight"]["views"] > 1


def test_blank_photo_has_no_interactions(ask_colours: Ask, png: Png, scene: Scene) -> None:
    assert record_of(ask_colours, png(scene()))["interactions"] == []


def test_classes_that_the_model_lacks_are_left_out(
    blobs: Weights, settings: ServiceSettings, tmp_path: Path, png: Png, scene: Scene
) -> None:
    renamed = ("unicorn", *CLASSES[2:])  # green is of the class that is no longer a dog
    onnx.save(detector_graph(HIGHER, ("dog", *CLASSES[2:])), tmp_path / "colours.onnx")
    contract = CONTRACT.replace(str(list(CLASSES)), str(list(renamed))).replace("RESIZE", "stretch")
    (tmp_path / "colours.toml").write_text(contract)
    chosen = settings.model_copy(update={"detector": tmp_path})
    predictor = HoiPredictor(blobs, chosen)
    ask = make_ask(predictor, predictor.weights, chosen, accept="application/json")

    record = record_of(ask, png(scene(*CYCLIST, ("green", 500, 400, 550, 450))), min_detection_score=0)

    assert LABELS["green"] == "dog"
    assert [each["label"] for each in record["detections"]] == ["person", "bicycle"]


def test_detector_without_people_is_refused(blobs: Weights, settings: ServiceSettings, tmp_path: Path) -> None:
    onnx.save(detector_graph(HIGHER, CLASSES), tmp_path / "colours.onnx")
    contract = CONTRACT.replace("'person'", "'pedestrian'").replace("RESIZE", "stretch")
    (tmp_path / "colours.toml").write_text(contract)
    chosen = settings.model_copy(update={"detector": tmp_path})

    with pytest.raises(ContractError, match="person"):
        open_session(HoiPredictor(blobs, chosen), chosen)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, serve: Serve, blobs: Weights, folder: Path) -> Iterator[httpx2.Client]:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(blobs.path))
    monkeypatch.setenv("SIGHTLINE_DETECTOR", str(folder))
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    with ready_client(serve(create())) as client:
        yield client


def test_replies_and_readiness_name_the_detector(
    client: httpx2.Client, png: Png, scene: Scene, folder: Path, blobs: Weights
) -> None:
    reply = client.post("/v1/hoi", files={"image": png(scene(*CYCLIST))})
    digest = hashlib.sha256((folder / "colours.onnx").read_bytes()).hexdigest()
    named = {"name": "colours", "version": "2", "weights_sha256": digest}

    assert reply.status_code == 200, reply.text
    assert reply.headers["x-sightline-detector"] == f"colours@2+{digest[:12]}"
    model = reply.json()["evidence"]["model"]
    assert model["detector"] == named
    assert model["weights_sha256"] != blobs.sha256
    assert reply.headers["x-sightline-model"] == f"hoi@1.0+{model['weights_sha256'][:12]}"
    ready = client.get("/readyz").json()
    assert (ready["detector"], ready["weights_sha256"]) == (named, model["weights_sha256"])
    overlay = client.post("/v1/hoi", files={"image": png(scene(*CYCLIST))}, headers={"accept": "image/png"})
    assert overlay.headers["x-sightline-detector"] == reply.headers["x-sightline-detector"]


def test_open_inference_protocol_takes_the_detectors_picture(client: httpx2.Client) -> None:
    inputs = [
        ("image", "UINT8", np.zeros((1, LONGEST_PX, LONGEST_PX, 3), int)),
        ("detector_picture", "UINT8", np.zeros((1, 96, 160, 3), int)),
        ("detector_scale", "FP32", np.ones((1, 2), int)),
    ]
    tensors = [
        {"name": name, "shape": values.shape, "datatype": kind, "data": values.ravel().tolist()}
        for name, kind, values in inputs
    ]
    reply = client.post("/v2/models/hoi/infer", json={"inputs": tensors})
    assert reply.status_code == 200, reply.text
    assert {each["name"] for each in client.get("/v2/models/hoi").json()["inputs"]} == {name for name, *_ in inputs}
