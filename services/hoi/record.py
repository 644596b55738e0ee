"""A result as the record that goes over the wire."""

from collections.abc import Mapping, Sequence

import numpy as np

from services.hoi.encoding import decoded
from services.hoi.found import Floats
from services.hoi.interactions import Interaction
from services.hoi.result import HoiResult
from services.hoi.schemas import Detection, Frame, HoiInteraction, HoiRecord, ScoreFactors, Sight, TargetDensity
from sightline.api.evidence import Evidence
from sightline.imaging.orientation import boxes_to_stored, swaps_sides

PEOPLE_LEFT_OUT = "people-left-out"
BOX_DIGITS, SCORE_DIGITS = 2, 6


def describe(result: HoiResult, evidence: Evidence) -> HoiRecord:
    shown, told, options = result.shown, result.told, result.request.options
    ids = {at: index for index, at in enumerate(shown)}
    width, height = size_told(result)
    return HoiRecord(
        width=width,
        height=height,
        frame=options.frame,
        detections=[_detection(result, at, ids[at]) for at in shown],
        interactions=[_interaction(result, each, ids) for each in told],
        people_found=result.people_found,
        min_score=result.min_score,
        sight=Sight(views=len(result.views), scale=round(max(view.scale_xy[0] for view in result.views), SCORE_DIGITS)),
        evidence=evidence.model_copy(update={"notes": notes_of(result)}),
    )


def notes_of(result: HoiResult) -> list[str]:
    too_many = result.people_found > result.request.options.max_people
    return [*result.request.picture.notes, *([PEOPLE_LEFT_OUT] if too_many else [])]


def size_told(result: HoiResult) -> tuple[int, int]:
    """Width and height of the frame that boxes are told in."""
    width, height = result.request.size_px
    return (
        (height, width) if _is_stored(result) and swaps_sides(result.request.picture.orientation) else (width, height)
    )


def _detection(result: HoiResult, at: int, name: int) -> Detection:
    found = result.found
    return Detection(
        id=name,
        label=result.facts.classes[found.labels[at]],
        score=rounded(found.scores[at]),
        box_xyxy=_box(result, found.boxes_xyxy[at]),
    )


def _interaction(result: HoiResult, interaction: Interaction, ids: Mapping[int, int]) -> HoiInteraction:
    factors, thing = interaction.factors, interaction.object
    return HoiInteraction(
        person=ids[interaction.person],
        action=interaction.slot.action,
        role=interaction.slot.role,
        object=None if thing is None else ids[thing],
        score=rounded(interaction.score),
        factors=ScoreFactors(
            person=rounded(factors.person),
            object=None if factors.object is None else rounded(factors.object),
            action=rounded(factors.action),
            target=None if factors.target is None else rounded(factors.target),
        ),
        target=None if interaction.mean is None else _density(result, interaction.person, interaction.mean),
    )


def _density(result: HoiResult, person: int, mean: Floats) -> TargetDensity:
    box = decoded(mean, result.found.boxes_xyxy[person])
    return TargetDensity(mean_box_xyxy=_box(result, box), sigma=result.facts.sigma)


def _box(result: HoiResult, box_xyxy: Floats) -> list[float]:
    width, height = result.request.size_px
    turned = boxes_to_stored(box_xyxy, result.request.picture.orientation, width, height)
    box: Sequence[float] = np.asarray(turned if _is_stored(result) else box_xyxy, np.float64).tolist()
    return [round(side, BOX_DIGITS) for side in box]


def _is_stored(result: HoiResult) -> bool:
    return result.request.options.frame is Frame.STORED


def rounded(value: float) -> float:
    return round(float(value), SCORE_DIGITS)
