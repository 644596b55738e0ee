"""Interactions of a running fleet as predictions in V-COCO's form, so that what is served is what is measured."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

from sightline.api.routes import route_of
from sightline.training.hoi.coco import Scene
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.role_scores import Prediction
from sightline.training.hoi.verbs import ACTIONS, CLASS_INDEX, SLOTS, SLOTS_OF
from sightline.training.photos import Picture, read_rgb

TIMEOUT_S = 120.0
EVERYTHING = {"min_score": "0", "min_detection_score": "0"}
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class ServedScene:
    """A scene with the detections and the prediction of a service, both in the scene's pixels."""

    scene: Scene
    found: Detections
    prediction: Prediction


def served_scenes(url: str, scenes: Sequence[Scene]) -> list[ServedScene]:
    """Results of the fleet at a base URL; an API key is taken from SIGHTLINE_API_KEY. httpx2.HTTPError on a failure."""
    key = os.environ.get("SIGHTLINE_API_KEY")
    headers = {"Accept": "application/json", **({"X-Api-Key": key} if key else {})}
    with httpx2.Client(base_url=url, timeout=TIMEOUT_S, headers=headers) as client:
        return [_served(_record(client, _full_size(scene)), scene) for scene in scenes]


def _record(client: httpx2.Client, picture: Picture) -> Record:
    """Everything that the service found, however unlikely."""
    png = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
    reply = client.post(route_of("hoi").lstrip("/"), files={"image": png}, data=EVERYTHING)
    record: Record = reply.raise_for_status().json()
    return record


def _full_size(scene: Scene) -> Picture:
    """The picture of the file, which may have been squashed, at the size that its truth is in."""
    return np.asarray(cv2.resize(read_rgb(scene.path), (scene.width, scene.height), interpolation=cv2.INTER_CUBIC))


def _served(record: Record, scene: Scene) -> ServedScene:
    return ServedScene(scene, detections_in(record), prediction_of(record))


def detections_in(record: Record) -> Detections:
    found = record["detections"]
    boxes = np.array([each["box_xyxy"] for each in found], np.float32).reshape(-1, 4)
    labels = np.array([CLASS_INDEX[each["label"]] for each in found], np.int64)
    return Detections(boxes, labels, np.array([each["score"] for each in found], np.float32))


def prediction_of(record: Record) -> Prediction:
    """Of the people that have interactions; an action's score is that of person and action, over its roles."""
    boxes = {each["id"]: each["box_xyxy"] for each in record["detections"]}
    rows = {person: row for row, person in enumerate(dict.fromkeys(each["person"] for each in record["interactions"]))}
    slots = {slot: at for at, slot in enumerate(SLOTS)}
    objects = np.full((len(rows), len(SLOTS), 4), np.nan, np.float32)
    scores, alone = np.zeros((len(rows), len(SLOTS)), np.float32), np.zeros((len(rows), len(SLOTS)), np.float32)
    for each in record["interactions"]:
        at = rows[each["person"]], slots[each["action"], each["role"]]
        scores[at] = each["score"]
        alone[at] = each["factors"]["person"] * each["factors"]["action"]
        if each["object"] is not None:
            objects[at] = boxes[each["object"]]
    people = np.array([boxes[person] for person in rows], np.float32).reshape(-1, 4)
    return Prediction(people, _agents(alone), objects, scores)


def _agents(alone: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([alone[:, list(SLOTS_OF[action])].mean(1) for action in ACTIONS], 1)
