"""Scenes drawn by hand: people are red, horses are brown, cups are blue; who rides stands on a horse."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightline.networks.faster_rcnn import DetectorConfig
from sightline.networks.interactnet import InteractNetConfig
from sightline.training.hoi.annotations import Detections
from sightline.training.hoi.datasets import Scene, read_extract
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from sightline.training.hoi.scene_store import PackedScene, pack_scenes
from sightline.training.hoi.teachers import NanoDetPlus
from sightline.training.photos import Picture, read_rgb

COLOURS = {"person": (220, 40, 40), "horse": (120, 80, 40), "cup": (40, 60, 220)}
SMALL = InteractNetConfig(
    DetectorConfig("efficientnet-lite0", width=16, hidden=32, per_class_boxes=False, image_px=96, passes=2),
    human_hidden=24,
    object_hidden=16,
    uses_classes=True,
)
Thing = tuple[str, list[float]]


def draw(path: Path, things: Sequence[Thing], seed: int, size: tuple[int, int] = (96, 72)) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), int(rng.integers(90, 200)), np.uint8)
    for name, box in things:
        x1, y1, x2, y2 = (round(side) for side in box)
        pixels[y1:y2, x1:x2] = COLOURS[name]
    noisy = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), noisy[..., ::-1])


def scene(at: int, *, rides: bool) -> dict[str, Any]:
    rng = np.random.default_rng(at)
    x, y = rng.uniform(10, 50), rng.uniform(4, 12)
    things: list[Thing] = [("person", [x, y, x + 14, y + 26]), ("cup", [2.0, 60.0, 10.0, 70.0])]
    things += [("horse", [x - 8, y + 26, x + 24, y + 48])] if rides else []
    hois = [{"person": 0, "action": "ride", "roles": {"instr": 2}}] if rides else []
    hois += [{"person": 0, "action": "stand", "roles": {}}] if not rides else []
    objects = [{"category": name, "bbox": box} for name, box in things]
    return {"image_id": 100 + at, "width": 96, "height": 72, "objects": objects, "hois": hois}


@pytest.fixture(scope="session")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An extract of V-COCO with sixteen pictures to train on and four of `val`."""
    folder = tmp_path_factory.mktemp("vcoco")
    document: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for at in range(20):
        image = scene(at, rides=at % 2 == 0) | {"file_name": f"images/{at:02}.png"}
        draw(folder / image["file_name"], [(each["category"], each["bbox"]) for each in image["objects"]], at)
        document["train" if at < 16 else "val"].append(image)
    (folder / "extract.json").write_text(json.dumps(document))
    return folder / "extract.json"


@pytest.fixture(scope="session")
def scenes(extract: Path) -> list[Scene]:
    return list(read_extract(extract))


@pytest.fixture(scope="session")
def store(scenes: list[Scene], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    packed = (PackedScene(read_rgb(each.path), (each.width, each.height), each.truth, 1.0) for each in scenes)
    assert pack_scenes(packed, folder, longest_px=96) == len(scenes)
    return folder


class Horses(NanoDetPlus):
    """Sees a horse in the lower half of whatever it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def detect(self, picture: Picture) -> Detections:
        self.shown += 1
        height, width = picture.shape[:2]
        boxes = np.array([[0, height / 2, width, height]], np.float32)
        return Detections(boxes, np.array([17]), np.array([0.9], np.float32))


@pytest.fixture
def boxes(tmp_path: Path) -> PseudoLabelCache:
    return PseudoLabelCache(Horses(), tmp_path / "teacher")
