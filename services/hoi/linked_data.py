"""A record as JSON-LD 1.1: people, things and actions in the words of schema.org."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.hoi.contract_facts import PERSON, Role
from services.hoi.schemas import Detection, HoiInteraction, HoiRecord

Node = dict[str, Any]

PICTURE = "urn:sha256:"
"""Names a picture by the digest of its bytes."""
OWN = "urn:sightline:"
"""What schema.org has no words for."""
DOUBLE = "http://www.w3.org/2001/XMLSchema#double"
SCORES = ("score", "personScore", "objectScore", "actionScore", "targetScore")
PROPERTY: Mapping[Role, str] = {Role.OBJECT: "object", Role.INSTRUMENT: "instrument"}

CONTEXT: Node = {
    "@version": 1.1,
    "@vocab": "https://schema.org/",
    "own": OWN,
    **{name: {"@id": f"own:{name}", "@type": DOUBLE} for name in (*SCORES, "sigma")},
    **{name: f"own:{name}" for name in ("region", "expectedRegion", "frame", "role")},
    "evidence": {"@id": "own:evidence", "@type": "@json"},
}


def linked_data(record: HoiRecord) -> bytes:
    """Regions are written as in W3C's Media Fragments: left, top, width and height in pixels."""
    picture = f"{PICTURE}{record.evidence.input_sha256}"
    document = {
        "@context": {**CONTEXT, "picture": f"{picture}#"},
        "@graph": [
            _picture(record, picture),
            *map(_detection, record.detections),
            *(_action(at, each) for at, each in enumerate(record.interactions)),
        ],
    }
    return json.dumps(document).encode()


def region(box_xyxy: Sequence[float]) -> str:
    left, top, right, bottom = box_xyxy
    return f"xywh=pixel:{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"


def _picture(record: HoiRecord, picture: str) -> Node:
    return {
        "@id": picture,
        "@type": "ImageObject",
        "sha256": record.evidence.input_sha256,
        "width": record.width,
        "height": record.height,
        "frame": record.frame,
        "mentions": [{"@id": _thing(each.id)} for each in record.detections],
        "evidence": record.evidence.model_dump(mode="json"),
    }


def _detection(detection: Detection) -> Node:
    return {
        "@id": _thing(detection.id),
        "@type": "Person" if detection.label == PERSON else "Thing",
        "name": detection.label,
        "score": detection.score,
        "region": region(detection.box_xyxy),
    }


def _action(at: int, interaction: HoiInteraction) -> Node:
    node = {
        "@id": f"picture:interaction-{at}",
        "@type": "Action",
        "name": interaction.action,
        "agent": {"@id": _thing(interaction.person)},
        "score": interaction.score,
        **{f"{name}Score": factor for name, factor in interaction.factors.model_dump(exclude_none=True).items()},
    }
    if interaction.role is not None:
        node["role"] = interaction.role
    if interaction.role is not None and interaction.object is not None:
        node[PROPERTY[interaction.role]] = {"@id": _thing(interaction.object)}
    if interaction.target is not None:
        node["expectedRegion"] = region(interaction.target.mean_box_xyxy)
        node["sigma"] = interaction.target.sigma
    return node


def _thing(name: int) -> str:
    return f"picture:detection-{name}"
