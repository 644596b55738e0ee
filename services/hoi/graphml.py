"""A record as GraphML: a node for each detection, an edge from a person to each thing that they do something with."""

from collections.abc import Mapping
from io import BytesIO
from xml.etree.ElementTree import Element, ElementTree, SubElement, register_namespace

from services.hoi.contract_facts import PERSON
from services.hoi.schemas import Detection, HoiInteraction, HoiRecord

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
Values = Mapping[str, str | int | float]
TYPES: Mapping[str, Mapping[str, str]] = {
    "graph": {
        "sha256": "string",
        "width": "int",
        "height": "int",
        "frame": "string",
        "model": "string",
        "request_id": "string",
    },
    "node": {
        "label": "string",
        "score": "double",
        "left": "double",
        "top": "double",
        "right": "double",
        "bottom": "double",
        "actions": "string",
    },
    "edge": {
        "action": "string",
        "role": "string",
        "score": "double",
        "person_score": "double",
        "object_score": "double",
        "action_score": "double",
        "target_score": "double",
    },
}
"""Of each attribute by what it is of."""


def graphml(record: HoiRecord) -> bytes:
    """Actions without an object are an attribute of the person, as a graph has no edge that ends nowhere."""
    register_namespace("", NAMESPACE)
    root = Element(_tag("graphml"))
    for kind, attributes in TYPES.items():
        for name, of_type in attributes.items():
            SubElement(
                root, _tag("key"), {"id": f"{kind}-{name}", "for": kind, "attr.name": name, "attr.type": of_type}
            )
    graph = SubElement(root, _tag("graph"), {"id": "interactions", "edgedefault": "directed"})
    _describe(graph, "graph", _picture(record))
    for detection in record.detections:
        _describe(SubElement(graph, _tag("node"), {"id": _node(detection.id)}), "node", _detection(record, detection))
    for at, act in enumerate(record.interactions):
        if act.object is not None:
            ends = {"source": _node(act.person), "target": _node(act.object)}
            _describe(SubElement(graph, _tag("edge"), {"id": f"interaction-{at}", **ends}), "edge", _edge(act))
    return _file(root)


def _file(root: Element) -> bytes:
    file = BytesIO()
    ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)
    return file.getvalue()


def _describe(element: Element, kind: str, values: Values) -> None:
    for name, value in values.items():
        SubElement(element, _tag("data"), {"key": f"{kind}-{name}"}).text = str(value)


def _picture(record: HoiRecord) -> Values:
    return {
        "sha256": record.evidence.input_sha256,
        "width": record.width,
        "height": record.height,
        "frame": record.frame,
        "model": str(record.evidence.model),
        "request_id": record.evidence.request_id,
    }


def _detection(record: HoiRecord, detection: Detection) -> Values:
    box = dict(zip(("left", "top", "right", "bottom"), detection.box_xyxy, strict=True))
    values: Values = {"label": detection.label, "score": detection.score, **box}
    if detection.label != PERSON:
        return values
    acts = [each for each in record.interactions if each.person == detection.id and each.object is None]
    return {**values, "actions": ", ".join(f"{each.action} {each.score:.3f}" for each in acts)}


def _edge(interaction: HoiInteraction) -> Values:
    factors = {f"{name}_score": each for name, each in interaction.factors.model_dump(exclude_none=True).items()}
    return {"action": interaction.action, "role": interaction.role or "", "score": interaction.score, **factors}


def _node(name: int) -> str:
    return f"detection-{name}"


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
