"""Stanford 40 Actions (Yao et al., ICCV 2011) as supervision for V-COCO's verbs.

Each picture shows one action, which says some of the verbs that its person does; what it leaves open, as whether a
rider smiles, stays unknown. Objects are a detector's.
"""

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.detections import Boxes
from sightline.training.hoi.truth import UNKNOWN, Truth
from sightline.training.hoi.verbs import ALLOWED, CLASS_INDEX, PERSON, ROLES, SLOT_INDEX, SLOTS_OF

VERBS: dict[str, tuple[str, ...]] = {
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
"""The verbs that a picture of each action shows."""

OBJECTS: dict[tuple[str, str], tuple[str, ...]] = {
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
"""What the verb's object is in a picture of the action; elsewhere it is what V-COCO allows, or not looked for."""

NEVER = ("surf", "ski", "snowboard", "skateboard", "hit", "kick", "catch", "eat")
"""Verbs that none of the forty actions shows."""
EXCLUSIVE = ("ride", "work_on_computer", "talk_on_phone", "drink", "read", "cut", "throw", "lay", "jump", "run")
"""Verbs that a picture shows only where its action says so."""
LEAST_CONFIDENCE = 0.3
FARTHEST = 2.0
"""From the person to the object, in diagonals of the person's box."""


def with_action(truth: Truth, action: str) -> Truth:
    """The truth, with what the action says about its person: the first of the boxes. KeyError for an unknown action."""
    actions, targets = truth.actions.copy(), truth.targets.copy()
    for verb in {*NEVER, *EXCLUSIVE} - set(VERBS[action]):
        actions[0, list(SLOTS_OF[verb])] = 0
    for verb in VERBS[action]:
        actions[0, list(SLOTS_OF[verb])] = 1
        for role in ROLES[verb]:
            targets[0, SLOT_INDEX[verb, role]] = find_object(truth, object_names(action, verb, role))
    return Truth(truth.boxes_xyxy, truth.labels, truth.confidence, actions, targets)


def object_names(action: str, verb: str, role: str) -> tuple[str, ...]:
    if role != ROLES[verb][0]:
        return ()
    return OBJECTS.get((action, verb), ALLOWED.get((verb, role), ()))


def find_object(truth: Truth, names: tuple[str, ...]) -> int:
    """The surest box of these classes near the first person, or unknown."""
    wanted = np.isin(truth.labels, [CLASS_INDEX[name] for name in names])
    near = _distances(truth.boxes_xyxy) <= FARTHEST
    sure = np.where(wanted & near & (truth.labels != PERSON), truth.confidence, 0)
    best = int(sure.argmax())
    return best if sure[best] >= LEAST_CONFIDENCE else UNKNOWN


def _distances(boxes: Boxes) -> NDArray[np.float64]:
    centres = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2
    diagonal = float(np.linalg.norm(boxes[0, 2:] - boxes[0, :2]))
    return np.asarray(np.linalg.norm(centres - centres[0], axis=1) / max(diagonal, 1.0))
