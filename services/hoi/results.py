"""Results, and what of them is reported in the JSON record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.hoi.contract_facts import ContractFacts
from services.hoi.detections import Detections, Floats
from services.hoi.interactions import Interaction
from services.hoi.schemas import (
    Detection,
    Frame,
    HoiInteraction,
    HoiOptions,
    HoiRecord,
    ScoreFactors,
    Sight,
    TargetDensity,
)
from services.hoi.views import View
from sightline.api.evidence import Evidence
from sightline.imaging.orientation import boxes_to_stored, swaps_sides
from sightline.imaging.picture import Picture
from sightline.postprocessing.interactions import decode_boxes

MIN_PERSON_SHARE = 2 / 3
"""Share of `min_detection_score` that a person needs for its interactions to be reported. Without this bound, half of
the reported interactions had no annotated person; of those that it removes, four in five have none."""
PEOPLE_LEFT_OUT = "people-left-out"
BOX_DIGITS, SCORE_DIGITS = 2, 6


@dataclass(frozen=True, slots=True, eq=False)
class HoiRequest:
    """A decoded photo with its options.

    data: the original file, as overlays are drawn on the whole photo, of which `picture` may be a small copy.
    """

    data: bytes
    picture: Picture
    options: HoiOptions

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the whole photo as displayed."""
        return self.picture.size_px


@dataclass(frozen=True, slots=True, eq=False)
class HoiResult:
    """Detections and interactions of all scores, by falling score; `reported_...` are those above the thresholds."""

    request: HoiRequest
    facts: ContractFacts
    views: Sequence[View]
    detections: Detections
    interactions: Sequence[Interaction]

    @property
    def min_score(self) -> float:
        requested = self.request.options.min_score
        return self.facts.thresholds.interaction if requested is None else requested

    @property
    def min_detection_score(self) -> float:
        requested = self.request.options.min_detection_score
        return self.facts.thresholds.shown if requested is None else requested

    @property
    def people_found(self) -> int:
        """Number of people whose score is at least `min_detection_score`."""
        people = self.detections.labels == self.facts.person
        return int((people & (self.detections.scores >= self.min_detection_score)).sum())

    @property
    def reported_interactions(self) -> list[Interaction]:
        """Interactions of at least `min_score`, of people of at least MIN_PERSON_SHARE of `min_detection_score`."""
        people = self.detections.scores >= MIN_PERSON_SHARE * self.min_detection_score
        return [each for each in self.interactions if each.action_score >= self.min_score and people[each.person]]

    @property
    def reported_detections(self) -> list[int]:
        """Indices of the detections of at least `min_detection_score`, or with a part in a reported interaction."""
        certain = self.detections.scores >= self.min_detection_score
        taking_part = {at for each in self.reported_interactions for at in (each.person, each.object)}
        return [at for at in range(len(self.detections)) if certain[at] or at in taking_part]


@dataclass(frozen=True, slots=True)
class HoiReport:
    """Reported detections and interactions, with boxes in one of the frames."""

    detections: list[Detection]
    interactions: list[HoiInteraction]


def report(result: HoiResult, frame: Frame) -> HoiReport:
    """The report of a result, with boxes in the frame."""
    ids = {at: index for index, at in enumerate(result.reported_detections)}
    boxes = _FrameBoxes(result, frame)
    return HoiReport(
        [_detection(result, at, name, boxes) for at, name in ids.items()],
        [_interaction(result, each, ids, boxes) for each in result.reported_interactions],
    )


def describe(result: HoiResult, evidence: Evidence) -> HoiRecord:
    """The JSON record."""
    frame = result.request.options.frame
    reported, (width, height) = report(result, frame), size_in(result, frame)
    return HoiRecord(
        width=width,
        height=height,
        frame=frame,
        detections=reported.detections,
        interactions=reported.interactions,
        people_found=result.people_found,
        min_score=result.min_score,
        min_detection_score=result.min_detection_score,
        sight=Sight(views=len(result.views), scale=_finest_scale(result)),
        evidence=evidence,
    )


def notes_of(result: HoiResult) -> list[str]:
    """Notes on the picture, and on people beyond `max_people`."""
    too_many = result.people_found > result.request.options.max_people
    return [*result.request.picture.notes, *([PEOPLE_LEFT_OUT] if too_many else [])]


def size_in(result: HoiResult, frame: Frame) -> tuple[int, int]:
    """Width and height of the photo in the frame."""
    width, height = result.request.size_px
    turned = frame is Frame.STORED and swaps_sides(result.request.picture.orientation)
    return (height, width) if turned else (width, height)


@dataclass(frozen=True, slots=True)
class _FrameBoxes:
    """Converts boxes to one of the frames."""

    result: HoiResult
    frame: Frame

    def convert(self, box_xyxy: Floats) -> list[float]:
        if self.frame is Frame.STORED:
            picture, size_px = self.result.request.picture, self.result.request.size_px
            box_xyxy = boxes_to_stored(box_xyxy, picture.orientation, *size_px)
        return [round(float(side), BOX_DIGITS) for side in box_xyxy]


def _detection(result: HoiResult, at: int, name: int, boxes: _FrameBoxes) -> Detection:
    detections = result.detections
    return Detection(
        id=name,
        label=result.facts.classes[detections.labels[at]],
        score=_score(detections.scores[at]),
        box_xyxy=boxes.convert(detections.boxes_xyxy[at]),
    )


def _interaction(
    result: HoiResult, interaction: Interaction, ids: Mapping[int, int], boxes: _FrameBoxes
) -> HoiInteraction:
    person, thing, factors, mean = interaction.person, interaction.object, interaction.factors, interaction.mean
    expected = None if mean is None else boxes.convert(decode_boxes(mean, result.detections.boxes_xyxy[person]))
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
