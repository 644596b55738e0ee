"""A result as the record that goes over the wire."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.hoi.found import Floats
from services.hoi.interactions import Interaction
from services.hoi.result import HoiResult
from services.hoi.schemas import Detection, Frame, HoiInteraction, HoiRecord, ScoreFactors, Sight, TargetDensity
from sightline.api.evidence import Evidence
from sightline.imaging.orientation import boxes_to_stored, swaps_sides
from sightline.postprocessing.box_encoding import decode_boxes

PEOPLE_LEFT_OUT = "people-left-out"
BOX_DIGITS, SCORE_DIGITS = 2, 6


@dataclass(frozen=True, slots=True)
class Told:
    """What a result says in one of the frames."""

    detections: list[Detection]
    interactions: list[HoiInteraction]


def tell(result: HoiResult, frame: Frame) -> Told:
    ids = {at: index for index, at in enumerate(result.shown)}
    boxes = _Boxes(result, frame)
    return Told(
        [_detection(result, at, name, boxes) for at, name in ids.items()],
        [_interaction(result, each, ids, boxes) for each in result.told],
    )


def describe(result: HoiResult, evidence: Evidence) -> HoiRecord:
    frame = result.request.options.frame
    told, (width, height) = tell(result, frame), size_in(result, frame)
    return HoiRecord(
        width=width,
        height=height,
        frame=frame,
        detections=told.detections,
        interactions=told.interactions,
        people_found=result.people_found,
        min_score=result.min_score,
        min_detection_score=result.min_detection_score,
        sight=Sight(views=len(result.views), scale=_finest_scale(result)),
        evidence=evidence,
    )


def notes_of(result: HoiResult) -> list[str]:
    too_many = result.people_found > result.request.options.max_people
    return [*result.request.picture.notes, *([PEOPLE_LEFT_OUT] if too_many else [])]


def size_in(result: HoiResult, frame: Frame) -> tuple[int, int]:
    """Width and height of the photo."""
    width, height = result.request.size_px
    turned = frame is Frame.STORED and swaps_sides(result.request.picture.orientation)
    return (height, width) if turned else (width, height)


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Tells boxes in one of the frames."""

    result: HoiResult
    frame: Frame

    def tell(self, box_xyxy: Floats) -> list[float]:
        if self.frame is Frame.STORED:
            picture, size_px = self.result.request.picture, self.result.request.size_px
            box_xyxy = boxes_to_stored(box_xyxy, picture.orientation, *size_px)
        return [round(float(side), BOX_DIGITS) for side in box_xyxy]


def _detection(result: HoiResult, at: int, name: int, boxes: _Boxes) -> Detection:
    found = result.found
    return Detection(
        id=name,
        label=result.facts.classes[found.labels[at]],
        score=_score(found.scores[at]),
        box_xyxy=boxes.tell(found.boxes_xyxy[at]),
    )


def _interaction(result: HoiResult, interaction: Interaction, ids: Mapping[int, int], boxes: _Boxes) -> HoiInteraction:
    person, thing, factors, mean = interaction.person, interaction.object, interaction.factors, interaction.mean
    expected = None if mean is None else boxes.tell(decode_boxes(mean, result.found.boxes_xyxy[person]))
    return HoiInteraction(
        person=ids[person],
        action=interaction.slot.action,
        role=interaction.slot.role,
        object=None if thing is None else ids[thing],
        score=_score(interaction.score),
        factors=ScoreFactors(
            person=_score(factors.person),
            object=None if factors.object is None else _score(factors.object),
            action=_score(factors.action),
            target=None if factors.target is None else _score(factors.target),
            empty_role=None if factors.empty_role is None else _score(factors.empty_role),
        ),
        object_status=interaction.status,
        target=None if expected is None else TargetDensity(mean_box_xyxy=expected, sigma=result.facts.sigma),
    )


def _finest_scale(result: HoiResult) -> float:
    return round(max(max(view.scale_xy) for view in result.views), SCORE_DIGITS)


def _score(value: float) -> float:
    return round(float(value), SCORE_DIGITS)
