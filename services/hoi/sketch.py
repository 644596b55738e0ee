"""What is to be drawn: which verbs stand at a link and which at a person."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.hoi.facts import PERSON
from services.hoi.interactions import ObjectStatus
from services.hoi.record import Told
from services.hoi.schemas import Detection, HoiInteraction

MOST_VERBS = 3
UNSEEN = " ?"
"""Behind a verb whose object was not found."""


@dataclass(frozen=True, slots=True)
class Link:
    """Line from a person to an object with the verbs on it; `uncertain` where the object is so for every verb."""

    person: Detection
    thing: Detection
    text: str
    uncertain: bool


@dataclass(frozen=True, slots=True)
class Sign:
    """Label at the box of a detection: `text` where there is room, else its number alone.

    `uncertain`: an object to which only uncertain links lead.
    """

    of: Detection
    text: str
    takes_part: bool
    uncertain: bool = False

    @property
    def number(self) -> str:
        return str(self.of.id)

    @property
    def is_person(self) -> bool:
        return self.of.label == PERSON


@dataclass(frozen=True, slots=True)
class Sketch:
    """Signs and links, the most important first."""

    signs: list[Sign]
    links: list[Link]


def sketch(told: Told) -> Sketch:
    """`told` has detections and interactions by falling score."""
    taking_part = {each for act in told.interactions for each in (act.person, act.object)}
    links = _links(told)
    certain = {link.thing.id for link in links if not link.uncertain}
    uncertain = {link.thing.id for link in links if link.uncertain} - certain
    signs = [_sign(told, each, each.id in taking_part, each.id in uncertain) for each in told.detections]
    signs.sort(key=lambda sign: (not sign.takes_part, not sign.is_person))
    return Sketch(signs, links)


def _links(told: Told) -> list[Link]:
    by_id, pairs = {each.id: each for each in told.detections}, dict[tuple[int, int], list[HoiInteraction]]()
    for act in told.interactions:
        if act.object is not None:
            pairs.setdefault((act.person, act.object), []).append(act)
    return [_link(by_id[person], by_id[thing], acts) for (person, thing), acts in pairs.items()]


def _link(person: Detection, thing: Detection, acts: Sequence[HoiInteraction]) -> Link:
    uncertain = all(act.object_status is ObjectStatus.UNCERTAIN for act in acts)
    return Link(person, thing, _list([act.action for act in acts]), uncertain)


def _sign(told: Told, detection: Detection, takes_part: bool, uncertain: bool) -> Sign:
    acts = [act for act in told.interactions if act.person == detection.id]
    if detection.label != PERSON:
        return Sign(detection, f"{detection.id} {detection.label}", takes_part, uncertain)
    return Sign(detection, f"{detection.id} {_list(_verbs_alone(acts))}".strip(), takes_part)


def _verbs_alone(acts: Sequence[HoiInteraction]) -> list[str]:
    """Those that no link shows."""
    linked = {act.action for act in acts if act.object is not None}
    return [
        f"{act.action}{UNSEEN if act.role else ''}" for act in acts if act.object is None and act.action not in linked
    ]


def _list(verbs: Sequence[str]) -> str:
    distinct = [verb.replace("_", " ") for verb in dict.fromkeys(verbs)]
    more = [f"+{len(distinct) - MOST_VERBS}"] if len(distinct) > MOST_VERBS else []
    return ", ".join([*distinct[:MOST_VERBS], *more])
