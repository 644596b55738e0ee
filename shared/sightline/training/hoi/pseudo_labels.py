"""Pseudo-labels: boxes of a teacher where none were annotated, and verbs derived from Stanford 40's actions."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.annotations import (
    ALLOWED_CLASSES,
    CLASS_INDEX,
    PERSON,
    ROLES,
    SLOT_INDEX,
    SLOTS_OF,
    UNKNOWN,
    Boxes,
    Detections,
    GroundTruth,
    boxes_without_actions,
    iou_matrix,
)
from sightline.training.hoi.teachers import Detector
from sightline.training.photos import read_rgb

log = logging.getLogger(__name__)
LOG_EVERY = 500

VOC_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip
"""COCO's names of the classes that PASCAL VOC annotated completely."""
ZERO_CONFIDENCE_SCORE, FULL_CONFIDENCE_SCORE = 0.1, 0.5
"""Scores of NanoDet-Plus, which rate class and place together, at which the confidence of a box is 0 and 1."""
SAME_BOX_IOU = 0.6
MAX_BOXES = 60

STANFORD40_VERBS: dict[str, tuple[str, ...]] = {
    "applauding": (),
    "blowing_bubbles": (),
    "brushing_teeth": ("hold",),
    "cleaning_the_floor": ("hold", "stand"),
    "climbing": (),
    "cooking": (),
    "cutting_trees": ("cut", "hold"),
    "cutting_vegetables": ("cut", "hold", "look"),
    "drinking": ("drink", "hold"),
    "feeding_a_horse": ("look",),
    "fishing": ("hold",),
    "fixing_a_bike": ("look",),
    "fixing_a_car": ("look",),
    "gardening": (),
    "holding_an_umbrella": ("hold",),
    "jumping": ("jump",),
    "looking_through_a_microscope": ("look",),
    "looking_through_a_telescope": ("look",),
    "phoning": ("talk_on_phone", "hold"),
    "playing_guitar": ("hold",),
    "playing_violin": ("hold",),
    "pouring_liquid": ("hold", "look"),
    "pushing_a_cart": ("hold",),
    "reading": ("read", "hold", "look"),
    "riding_a_bike": ("ride", "sit"),
    "riding_a_horse": ("ride", "sit"),
    "rowing_a_boat": ("sit", "hold"),
    "running": ("run",),
    "shooting_an_arrow": ("hold", "look"),
    "smoking": (),
    "taking_photos": ("hold", "look"),
    "texting_message": ("hold", "look"),
    "throwing_frisby": ("throw",),
    "using_a_computer": ("work_on_computer", "look"),
    "walking_the_dog": ("walk", "hold"),
    "washing_dishes": ("hold", "stand", "look"),
    "watching_TV": ("look",),
    "waving_hands": (),
    "writing_on_a_board": ("hold", "look"),
    "writing_on_a_book": ("hold", "look"),
}
"""V-COCO's verbs that a picture of each action shows."""

STANFORD40_OBJECTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("holding_an_umbrella", "hold"): ("umbrella",),
    ("phoning", "hold"): ("cell phone",),
    ("texting_message", "hold"): ("cell phone",),
    ("texting_message", "look"): ("cell phone",),
    ("reading", "hold"): ("book",),
    ("reading", "look"): ("book",),
    ("drinking", "hold"): ("bottle", "cup", "wine glass"),
    ("pouring_liquid", "hold"): ("bottle", "cup"),
    ("brushing_teeth", "hold"): ("toothbrush",),
    ("cutting_vegetables", "hold"): ("knife",),
    ("using_a_computer", "look"): ("laptop", "tv"),
    ("watching_TV", "look"): ("tv",),
    ("feeding_a_horse", "look"): ("horse",),
    ("fixing_a_bike", "look"): ("bicycle", "motorcycle"),
    ("fixing_a_car", "look"): ("car", "truck"),
    ("throwing_frisby", "throw"): ("frisbee",),
    ("riding_a_bike", "ride"): ("bicycle",),
    ("riding_a_bike", "sit"): ("bicycle",),
    ("riding_a_horse", "ride"): ("horse",),
    ("riding_a_horse", "sit"): ("horse",),
    ("cutting_vegetables", "cut"): ("knife", "scissors"),
}
"""Classes of the verb's object in a picture of the action. Elsewhere they are those that V-COCO allows, or none."""

ABSENT_VERBS = ("surf", "ski", "snowboard", "skateboard", "hit", "kick", "catch", "eat")
"""Verbs that none of the forty actions shows."""
EXCLUSIVE_VERBS = ("ride", "work_on_computer", "talk_on_phone", "drink", "read", "cut", "throw", "lay", "jump", "run")
"""Verbs that a picture shows only if they belong to its action."""
MIN_OBJECT_CONFIDENCE = 0.3
MAX_OBJECT_DISTANCE = 2.0
"""From the person to the object, in diagonals of the person's box."""


class PseudoLabelCache:
    """A teacher's detections in folders of pictures, kept on disk in a file for each folder."""

    def __init__(self, teacher: Detector, folder: Path) -> None:
        self.teacher, self.folder = teacher, folder

    def detections(self, name: str, paths: Sequence[Path]) -> Mapping[str, Detections]:
        """Detections by file name, in shares of the pictures' sides. `name` is the folder's key in the cache."""
        if not paths:
            return {}
        cached = self.folder / f"{name}.npz"
        if not cached.exists():
            self._detect(name, paths, cached)
        with np.load(cached) as saved:
            ends, every = saved["at"], Detections(saved["boxes"], saved["labels"], saved["scores"])
            names = saved["names"].tolist()
        return {Path(file).name: every.where(np.arange(*ends[at : at + 2])) for at, file in enumerate(names)}

    def _detect(self, name: str, paths: Sequence[Path], cached: Path) -> None:
        detections = []
        for at, path in enumerate(paths):
            picture = read_rgb(path)
            height, width = picture.shape[:2]
            detections.append(self.teacher.detect(picture).scaled(1 / width, 1 / height))
            if at % LOG_EVERY == 0:
                log.info("the teacher has labelled %d of %d pictures of %s", at, len(paths), name)
        columns = {
            "boxes": np.concatenate([each.boxes_xyxy for each in detections]),
            "labels": np.concatenate([each.labels for each in detections]),
            "scores": np.concatenate([each.scores for each in detections]),
        }
        ends = np.cumsum([0, *(len(each) for each in detections)])
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(".part.npz")
        np.savez(partial, at=ends, names=np.array([str(path) for path in paths]), **columns)  # type: ignore[arg-type]
        partial.replace(cached)


def add_pseudo_labels(
    truth: GroundTruth, detections: Detections, annotated_classes: Collection[str] = ()
) -> GroundTruth:
    """Adds detections that are neither of a completely annotated class nor one of the annotated boxes.

    A confidence below 1 makes them soft labels.
    """
    score_range = FULL_CONFIDENCE_SCORE - ZERO_CONFIDENCE_SCORE
    confidence = ((detections.scores - ZERO_CONFIDENCE_SCORE) / score_range).clip(0, 1)
    new = (confidence > 0.1) & ~np.isin(detections.labels, [CLASS_INDEX[name] for name in annotated_classes])
    if len(truth):
        new &= iou_matrix(detections.boxes_xyxy, truth.boxes_xyxy).max(1, initial=0) < SAME_BOX_IOU
    chosen = np.flatnonzero(new)[: max(MAX_BOXES - len(truth), 0)]
    added = boxes_without_actions(detections.boxes_xyxy[chosen], detections.labels[chosen], confidence[chosen])
    return truth.with_boxes(added)


def add_stanford40_action(truth: GroundTruth, action: str) -> GroundTruth:
    """Labels the verbs of the first box, the person of Stanford 40 (Yao et al., ICCV 2011), by the picture's action.

    Verbs that the action leaves open, such as whether a rider smiles, stay unknown. KeyError for an unknown action.
    """
    actions, targets = truth.actions.copy(), truth.targets.copy()
    for verb in {*ABSENT_VERBS, *EXCLUSIVE_VERBS} - set(STANFORD40_VERBS[action]):
        actions[0, list(SLOTS_OF[verb])] = 0
    for verb in STANFORD40_VERBS[action]:
        actions[0, list(SLOTS_OF[verb])] = 1
        for role in ROLES[verb]:
            targets[0, SLOT_INDEX[verb, role]] = _find_object(truth, _object_classes(action, verb, role))
    return GroundTruth(truth.boxes_xyxy, truth.labels, truth.confidence, actions, targets)


def _object_classes(action: str, verb: str, role: str) -> tuple[str, ...]:
    if role != ROLES[verb][0]:
        return ()
    return STANFORD40_OBJECTS.get((action, verb), ALLOWED_CLASSES.get((verb, role), ()))


def _find_object(truth: GroundTruth, classes: tuple[str, ...]) -> int:
    """The row of the most confident box of these classes near the first person, or UNKNOWN."""
    fits = np.isin(truth.labels, [CLASS_INDEX[name] for name in classes])
    near = _distances(truth.boxes_xyxy) <= MAX_OBJECT_DISTANCE
    confidence = np.where(fits & near & (truth.labels != PERSON), truth.confidence, 0)
    best = int(confidence.argmax())
    return best if confidence[best] >= MIN_OBJECT_CONFIDENCE else UNKNOWN


def _distances(boxes: Boxes) -> NDArray[np.float64]:
    """Distances of the centres from the first box's, in diagonals of the first box."""
    centres = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2
    diagonal = float(np.linalg.norm(boxes[0, 2:] - boxes[0, :2]))
    return np.asarray(np.linalg.norm(centres - centres[0], axis=1) / max(diagonal, 1.0))
