"""Readers of COCO and V-COCO, and the split into training and held-out pictures."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.imaging.perceptual_hash import perceptual_hash
from sightline.training.hoi.annotations import (
    CLASS_INDEX,
    INDEX_OF_COCO_ID,
    ROLES,
    SLOT_INDEX,
    SLOTS_OF,
    UNKNOWN,
    GroundTruth,
    boxes_without_actions,
)
from sightline.training.photos import Picture, list_photos, read_rgb

HELD_OUT = 100
NEAR_DUPLICATE_BITS = 8

ActionRoles = Mapping[str, Mapping[str, int]]
"""The actions of a person, each with the annotation id of the object in each role (0: none)."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture file with its annotations.

    `truth` is in pixels of a picture of `width` by `height`; the file may have another size. `action` is the picture's
    only action in data sets that label whole pictures.
    """

    path: Path
    width: int
    height: int
    truth: GroundTruth
    coco_id: int | None = None
    action: str | None = None
    split: str | None = None


def read_coco(annotations: Path, images: Path) -> Iterator[Scene]:
    """Scenes of a file in COCO's detection format. Crowds and boxes marked `ignore` have confidence 0."""
    document = json.loads(annotations.read_text())
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in document["annotations"]:
        rows[row["image_id"]].append(row)
    for image in document["images"]:
        size = int(image["width"]), int(image["height"])
        metadata = image.get("coco_id"), image.get("action"), image.get("split")
        yield Scene(images / image["file_name"], *size, _coco_truth(rows[image["id"]]), *metadata)


def _coco_truth(rows: list[dict[str, Any]]) -> GroundTruth:
    confidence = [not (row.get("ignore") or row.get("iscrowd")) for row in rows]
    boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = np.array([INDEX_OF_COCO_ID[row["category_id"]] for row in rows], np.int64)
    return boxes_without_actions(boxes, labels, np.array(confidence, np.float32))


def read_scenes(files: Sequence[Path], instances: Path | None, images: Path | None) -> list[Scene]:
    """Scenes of V-COCO: of official files if COCO's instances and images are given, else of extracts."""
    if instances is None or images is None:
        return [scene for file in files for scene in read_extract(file)]
    return [scene for file in files for scene in read_vcoco(file, instances, images)]


def read_vcoco(actions: Path, instances: Path, images: Path) -> Iterator[Scene]:
    """Scenes of an official `vcoco_{train,val,test}.json` and the `instances_*2014.json` that its ids refer to.

    All actions of people that the file of actions leaves out are unknown; losses and metrics skip those people.
    """
    document = json.loads(instances.read_text())
    verbs = json.loads(actions.read_text())
    image_ids = set(np.ravel(verbs[0]["image_id"]).tolist())
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in document["annotations"]:
        if row["image_id"] in image_ids and not row.get("ignore"):
            rows[row["image_id"]].append(row)
    people = _actions_by_annotation(verbs)
    for image in document["images"]:
        if image["id"] in image_ids:
            truth = _official_truth(rows[image["id"]], people)
            path, split = images / image["file_name"], actions.stem.removeprefix("vcoco_")
            yield Scene(path, image["width"], image["height"], truth, image["id"], split=split)


def _actions_by_annotation(verbs: list[dict[str, Any]]) -> Mapping[int, ActionRoles]:
    people: dict[int, dict[str, dict[str, int]]] = defaultdict(dict)
    for verb in verbs:
        ids = np.ravel(verb["ann_id"])
        objects = np.reshape(verb["role_object_id"], (len(verb["role_name"]), -1))
        for at, (person, label) in enumerate(zip(ids.tolist(), np.ravel(verb["label"]).tolist(), strict=True)):
            actions = people[person]
            if label == 1:
                actions[verb["action_name"]] = dict(zip(verb["role_name"][1:], objects[1:, at].tolist(), strict=True))
    return people


def _official_truth(rows: list[dict[str, Any]], people: Mapping[int, ActionRoles]) -> GroundTruth:
    truth = _coco_truth(rows)
    row_of = {row["id"]: at for at, row in enumerate(rows)}
    for annotation_id, person in row_of.items():
        if annotation_id in people:
            _annotate(truth, person, people[annotation_id], row_of)
    return truth


def _annotate(
    truth: GroundTruth, person: int, actions: Mapping[str, Mapping[str, int | None]], row_of: Mapping[int, int]
) -> None:
    """Labels every action of the person: 1 for the given ones, 0 for others unless they are 1 already."""
    truth.actions[person] = np.maximum(truth.actions[person], 0)
    for action, roles in actions.items():
        truth.actions[person, list(SLOTS_OF[action])] = 1
        for role in ROLES[action]:
            target = roles.get(role)
            row = UNKNOWN if target is None else row_of.get(target, UNKNOWN)
            truth.targets[person, SLOT_INDEX[action, role]] = row


def read_extract(document: Path) -> Iterator[Scene]:
    """Scenes of `{split: [{image_id, width, height, file_name, objects: [{category, bbox}], hois}]}`.

    `hois` are `{person, action, roles}`, where `person` and the values of `roles` are rows of the objects or null.
    Boxes are corners in the pixels of a picture of `width` by `height`.
    """
    for split, images in json.loads(document.read_text()).items():
        for image in images:
            truth = _extract_truth(image)
            size = int(image["width"]), int(image["height"])
            yield Scene(document.parent / image["file_name"], *size, truth, image["image_id"], split=split)


def _extract_truth(image: dict[str, Any]) -> GroundTruth:
    boxes = np.array([each["bbox"] for each in image["objects"]], np.float32)
    labels = np.array([CLASS_INDEX[each["category"]] for each in image["objects"]], np.int64)
    truth = boxes_without_actions(boxes, labels)
    row_of = {at: at for at in range(len(truth))}
    for hoi in image["hois"]:
        _annotate(truth, hoi["person"], {hoi["action"]: hoi["roles"]}, row_of)
    return truth


def hold_out(scenes: Sequence[Scene], count: int = HELD_OUT) -> tuple[list[Scene], list[Scene]]:
    """Training scenes and held-out ones: the first of `val` by COCO's ids, which are independent of content."""
    validation = sorted((each for each in scenes if each.split == "val"), key=lambda each: each.coco_id or 0)
    held_out = validation[:count]
    ids = {each.coco_id for each in held_out}
    return [each for each in scenes if each.coco_id not in ids], held_out


def distinct_from(held_out: Sequence[Scene]) -> Callable[[Picture], bool]:
    """A predicate that is false for held-out pictures, also when resized or recompressed."""
    hashes = np.array([perceptual_hash(read_rgb(each.path)) for each in held_out], np.uint64)

    def is_distinct(picture: Picture) -> bool:
        differing = np.bitwise_count(hashes ^ np.uint64(perceptual_hash(picture)))
        return bool((differing > NEAR_DUPLICATE_BITS).all())

    return is_distinct


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A held-out picture and the most similar one of a training folder, by differing bits of the perceptual hash."""

    held_out: Path
    trained_on: Path
    bits: int


def find_near_duplicates(held_out: Sequence[Scene], folders: Sequence[Path]) -> list[NearDuplicate]:
    """The held-out pictures that the folders contain too, also resized, recompressed or mirrored; nearest first."""
    paths = [path for folder in folders for path in list_photos(folder)]
    if not paths:
        raise ValueError(f"there are no pictures in {', '.join(map(str, folders))}; give folders of training pictures")
    hashes = np.array([perceptual_hash(read_rgb(path)) for path in paths], np.uint64)
    found = []
    for scene in held_out:
        picture = read_rgb(scene.path)
        both = (perceptual_hash(each) for each in (picture, np.ascontiguousarray(picture[:, ::-1])))
        differing = np.min([np.bitwise_count(hashes ^ np.uint64(each)) for each in both], axis=0)
        nearest = int(differing.argmin())
        if differing[nearest] <= NEAR_DUPLICATE_BITS:
            found.append(NearDuplicate(scene.path, paths[nearest], int(differing[nearest])))
    return sorted(found, key=lambda each: each.bits)
