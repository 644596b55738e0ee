"""What the service is told of the two files."""

import json
import tomllib
from pathlib import Path
from typing import Any

from sightline.networks.faster_rcnn import Detecting
from sightline.postprocessing.interactions import Composition
from sightline.training.hoi.verbs import ALLOWED, COCO_CLASSES, SLOTS

OUTPUTS = {
    "boxes": "float32",
    "scores": "float32",
    "labels": "int64",
    "actions": "float32",
    "targets": "float32",
    "person_logits": "float32",
    "object_logits": "float32",
}

INTERACTION, SHOWN = 0.12, 0.45
"""The least scores of a triplet and of a box that are told unless asked for; with lower ones overlays are a thicket."""

CONTRACT = """\
# What detector.onnx and interactions.onnx take and give; docs/weights.md says what each entry means.
name = "interactnet"
version = "{version}"
precision = "fp32"
multiple_of = 32

[parts]
interactions = "interactions.onnx"

[inputs.image]
tensor = "image"
dtype = "float32"
layout = "nchw"
range = [0.0, 255.0]

{outputs}

[facts]
longest_side_px = {longest_side_px}
classes = {classes}
slots = {slots}
sigma = {sigma}
action_score = "{action_score}"

[facts.thresholds]
detection = {detection}
empty_role = {empty_role}
interaction = {interaction}
shown = {shown}

# The classes that V-COCO knows in a role; any in those not named.
[facts.allowed]
{allowed}
"""


def contract_of(composition: Composition, detecting: Detecting, longest_side_px: int, version: str) -> str:
    outputs = [f'[outputs.{name}]\ntensor = "{name}"\ndtype = "{dtype}"' for name, dtype in OUTPUTS.items()]
    allowed = [f"{action}-{role} = {json.dumps(list(names))}" for (action, role), names in ALLOWED.items()]
    slots = [[action, role] if role else [action] for action, role in SLOTS]
    return CONTRACT.format(
        version=version,
        outputs="\n\n".join(outputs),
        longest_side_px=longest_side_px,
        classes=json.dumps(list(COCO_CLASSES)),
        slots=json.dumps(slots),
        sigma=composition.sigma,
        action_score=composition.action_score,
        detection=detecting.score_threshold,
        empty_role=composition.empty_role,
        interaction=INTERACTION,
        shown=SHOWN,
        allowed="\n".join(allowed),
    )


def read_facts(weights: Path) -> dict[str, Any]:
    """What was declared of the weights beside the file."""
    facts: dict[str, Any] = tomllib.loads(weights.with_suffix(".toml").read_text("utf-8"))["facts"]
    return facts
