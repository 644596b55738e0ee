"""V-COCO: the official files beside COCO's, and an extract with pictures of any size."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.training.hoi.coco import Scene
from sightline.training.hoi.truth import UNKNOWN, Truth, boxes_only
from sightline.training.hoi.verbs import CLASS_INDEX, INDEX_OF_COCO_ID, ROLES, SLOT_INDEX, SLOTS_OF


def read_scenes(files: Sequence[Path], instances: Path | None, images: Path | None) -> list[Scene]:
    """Of official files, for which COCO's instances and images are needed, or of extracts, for which they are not."""
    if instances is None or images is None:
        return [scene for file in files for scene in read_extract(file)]
    return [scene for file in files for scene in read_vcoco(file, instances, images)]


def read_vcoco(actions: Path, instances: Path, images: Path) -> Iterator[Scene]:
    """The official `vcoco_{train,val,test}.json` with COCO's `instances_*2014.json` that its annotation ids refer to.

    People that no file of actions names are unknown in every action, which losses and measures leave out.
    """
    document = json.loads(instances.read_text())
    verbs = json.loads(actions.read_text())
    wanted = set(np.ravel(verbs[0]["image_id"]).tolist())
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in document["annotations"]:
        if row["image_id"] in wanted and not row.get("ignore"):
            rows[row["image_id"]].append(row)
    said = _by_annotation(verbs)
    for image in document["images"]:
        if image["id"] in wanted:
            truth = _official_truth(rows[image["id"]], said)
            path, split = images / image["file_name"], actions.stem.removeprefix("vcoco_")
            yield Scene(path, image["width"], image["height"], truth, image["id"], split=split)


Said = Mapping[int, Mapping[str, Mapping[str, int]]]
"""Of an annotation id: each action that it does, and the annotation id (0: none) in each role."""


def _by_annotation(verbs: list[dict[str, Any]]) -> Said:
    said: dict[int, dict[str, dict[str, int]]] = defaultdict(dict)
    for verb in verbs:
        people = np.ravel(verb["ann_id"])
        objects = np.reshape(verb["role_object_id"], (len(verb["role_name"]), -1))
        for at, (person, label) in enumerate(zip(people.tolist(), np.ravel(verb["label"]).tolist(), strict=True)):
            done = said[person]
            if label == 1:
                done[verb["action_name"]] = dict(zip(verb["role_name"][1:], objects[1:, at].tolist(), strict=True))
    return said


def _official_truth(rows: list[dict[str, Any]], said: Said) -> Truth:
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([INDEX_OF_COCO_ID[row["category_id"]] for row in rows], np.int64)
    truth = boxes_only(boxes, labels, np.array([1 - row["iscrowd"] for row in rows], np.float32))
    place = {row["id"]: at for at, row in enumerate(rows)}
    for row in rows:
        if row["id"] in said:
            _annotate(truth, place[row["id"]], {}, {})
            for action, roles in said[row["id"]].items():
                _annotate(truth, place[row["id"]], {action: roles}, place)
    return truth


def _annotate(
    truth: Truth, person: int, done: Mapping[str, Mapping[str, int | None]], place: Mapping[int, int]
) -> None:
    """Every action of the person is known from here on; those done are 1."""
    truth.actions[person] = np.maximum(truth.actions[person], 0)
    for action, roles in done.items():
        truth.actions[person, list(SLOTS_OF[action])] = 1
        for role in ROLES[action]:
            target = roles.get(role)
            found = UNKNOWN if target is None else place.get(target, UNKNOWN)
            truth.targets[person, SLOT_INDEX[action, role]] = found


def read_extract(document: Path) -> Iterator[Scene]:
    """`{split: [{image_id, width, height, file_name, objects: [{category, bbox}], hois: [{person, action, roles}]}]}`.

    Boxes are corners in the pixels of a picture of `width` by `height`; roles name places among the objects, or null.
    """
    for split, images in json.loads(document.read_text()).items():
        for image in images:
            truth = _extract_truth(image)
            size = int(image["width"]), int(image["height"])
            yield Scene(document.parent / image["file_name"], *size, truth, image["image_id"], split=split)


def _extract_truth(image: dict[str, Any]) -> Truth:
    boxes = np.array([each["bbox"] for each in image["objects"]], np.float32)
    labels = np.array([CLASS_INDEX[each["category"]] for each in image["objects"]], np.int64)
    truth = boxes_only(boxes, labels)
    places = {at: at for at in range(len(truth))}
    for hoi in image["hois"]:
        _annotate(truth, hoi["person"], {hoi["action"]: hoi["roles"]}, places)
    return truth
