"""COCO's detection format, and what V-COCO's actions say of the people in it."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.training.hoi.truth import Truth, boxes_only
from sightline.training.hoi.verbs import INDEX_OF_COCO_ID


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture file and what is known of it; `truth` is in pixels of a picture of `width` by `height`, whatever size
    the file has. `action` is the picture's one action in data sets that name it."""

    path: Path
    width: int
    height: int
    truth: Truth
    coco_id: int | None = None
    action: str | None = None
    split: str | None = None


def read_coco(annotations: Path, images: Path) -> Iterator[Scene]:
    """Pictures with their boxes; crowds and boxes marked `ignore` have confidence 0."""
    document = json.loads(annotations.read_text())
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in document["annotations"]:
        rows[row["image_id"]].append(row)
    for image in document["images"]:
        size = int(image["width"]), int(image["height"])
        about = image.get("coco_id"), image.get("action"), image.get("split")
        yield Scene(images / image["file_name"], *size, _truth(rows[image["id"]]), *about)


def _truth(rows: list[dict[str, Any]]) -> Truth:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([INDEX_OF_COCO_ID[row["category_id"]] for row in rows], np.int64)
    sure = [not (row.get("ignore") or row.get("iscrowd")) for row in rows]
    return boxes_only(boxes, labels, np.array(sure, np.float32))
