"""Overlay of the interactions on the photo: numbered boxes, and links with verbs, in a colour per person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.hoi.contract_facts import PERSON
from services.hoi.interactions import ObjectStatus
from services.hoi.label_layout import Curve, LabelPlacer, Rect, Size, Spot
from services.hoi.results import HoiReport
from services.hoi.schemas import Detection, HoiInteraction

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

MIN_LONG_SIDE_PX = 800
"""Smaller photos are enlarged: at their own size there is no room for letters."""
MIN_FONT_PX = 14
FONTS_PER_LONG_SIDE, FONTS_PER_SHORT_SIDE = 44, 16
MAX_FONTS_PER_LONG_SIDE, CROWD = 66, 100
"""With this many labels, letters are smallest: 12 px high where the picture is shown 800 px wide, 18 px with few."""
OBJECT: Colour = (255, 255, 255)
BYSTANDER: Colour = (170, 170, 170)
SHADE: Colour = (0, 0, 0)
PALETTE: Sequence[Colour] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (120, 94, 240),
)  # fmt: skip
"""Distinct for any colour vision: the colours of Okabe and Ito, and the violet of IBM's design library."""
TINTS = (0.0, 0.4, -0.35, 0.6, -0.5, 0.2, -0.2, 0.75)
"""Shares of white, or of black where negative, in each further round of the palette."""
DASH_LINES = 4
"""Length of a dash, and of the gap after it, in widths of the line."""
WORDS_SHARE = 0.08
"""Share of the picture that words at boxes may hide; beyond it, box labels have their number alone."""
GRID = 4
"""Rows and columns of spots within a box."""
MAX_ACTIONS = 3
"""Of each person, the most probable ones; the record has all."""
MISSING_OBJECT = ": object not found"
"""Follows the verbs whose object was not found."""


@dataclass(frozen=True, slots=True)
class Link:
    """Line from a person to an object with the verbs on it; `uncertain` where the object is so for every verb."""

    person: Detection
    thing: Detection
    text: str
    uncertain: bool


@dataclass(frozen=True, slots=True)
class BoxLabel:
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
class Annotations:
    """Box labels and links, the most important first."""

    box_labels: list[BoxLabel]
    links: list[Link]


def annotate(report: HoiReport) -> Annotations:
    """The annotations of a report, whose detections and interactions are sorted by falling score."""
    interactions = strongest(report.interactions)
    taking_part = {each for act in interactions for each in (act.person, act.object)}
    links = _links(report.detections, interactions)
    certain = {link.thing.id for link in links if not link.uncertain}
    uncertain = {link.thing.id for link in links if link.uncertain} - certain
    box_labels = [
        _box_label(each, interactions, each.id in taking_part, each.id in uncertain) for each in report.detections
    ]
    box_labels.sort(key=lambda label: (not label.takes_part, not label.is_person))
    return Annotations(box_labels, links)


def strongest(interactions: Sequence[HoiInteraction]) -> list[HoiInteraction]:
    """The interactions of each person's `MAX_ACTIONS` most probable actions, in the given order.

    More would hide the photo. An action counts by the scores of person and action alone: the object's would favour
    actions without object.
    """
    actions = dict[int, dict[str, float]]()
    for each in interactions:
        of_person, score = actions.setdefault(each.person, {}), each.factors.person * each.factors.action
        of_person[each.action] = max(score, of_person.get(each.action, 0))
    kept = {
        (person, action)
        for person, scores in actions.items()
        for action in sorted(scores, key=lambda name: -scores[name])[:MAX_ACTIONS]
    }
    return [each for each in interactions if (each.person, each.action) in kept]


def _links(detections: Sequence[Detection], interactions: Sequence[HoiInteraction]) -> list[Link]:
    by_id, pairs = {each.id: each for each in detections}, dict[tuple[int, int], list[HoiInteraction]]()
    for act in interactions:
        if act.object is not None:
            pairs.setdefault((act.person, act.object), []).append(act)
    return [_link(by_id[person], by_id[thing], acts) for (person, thing), acts in pairs.items()]


def _link(person: Detection, thing: Detection, acts: Sequence[HoiInteraction]) -> Link:
    uncertain = all(act.object_status is ObjectStatus.UNCERTAIN for act in acts)
    return Link(person, thing, _list([act.action for act in acts]), uncertain)


def _box_label(
    detection: Detection, interactions: Sequence[HoiInteraction], takes_part: bool, uncertain: bool
) -> BoxLabel:
    if detection.label != PERSON:
        return BoxLabel(detection, f"{detection.id} {detection.label}", takes_part, uncertain)
    acts = [act for act in interactions if act.person == detection.id]
    return BoxLabel(detection, f"{detection.id} {_verbs_alone(acts)}".strip(), takes_part)


def _verbs_alone(acts: Sequence[HoiInteraction]) -> str:
    """The verbs that no link shows: those without role, and on a second line those whose object was not found."""
    linked = {act.action for act in acts if act.object is not None}
    alone = [act for act in acts if act.object is None and act.action not in linked]
    without_role, missing = (_list([act.action for act in alone if bool(act.role) is role]) for role in (False, True))
    return "\n".join(filter(None, [without_role, f"{missing}{MISSING_OBJECT}" if missing else ""]))


def _list(verbs: Sequence[str]) -> str:
    return ", ".join(verb.replace("_", " ") for verb in dict.fromkeys(verbs))


@dataclass(frozen=True, slots=True)
class Pen:
    """Font and widths of lines and margins, in pixels of the drawing."""

    font: ImageFont.FreeTypeFont
    line_px: int
    pad_px: int

    @classmethod
    def fitting(cls, width: int, height: int, labels: int) -> "Pen":
        lines = np.interp(labels, [0, CROWD], [FONTS_PER_LONG_SIDE, MAX_FONTS_PER_LONG_SIDE])
        share = min(max(width, height) / lines, min(width, height) / FONTS_PER_SHORT_SIDE)
        font_px = max(MIN_FONT_PX, round(float(share)))
        font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(font_px))
        return cls(font, max(2, font_px // 7), max(2, font_px // 5))

    def size(self, text: str) -> Size:
        lines = text.split("\n")
        width = max(self.font.getlength(line) for line in lines)
        return Size(ceil(width) + 2 * self.pad_px, len(lines) * self.line_height_px + self.pad_px)

    @property
    def line_height_px(self) -> int:
        return sum(self.font.getmetrics())


@dataclass(frozen=True, slots=True)
class PlacedLabel:
    """A label at its place."""

    rect: Rect
    text: str
    colour: Colour


def draw(photo: Pixels, report: HoiReport) -> Pixels:
    """The photo with the report drawn over it, (h, w, 3) sRGB; a small photo is enlarged by a whole number."""
    factor = max(1, ceil(MIN_LONG_SIDE_PX / max(photo.shape[:2])))
    pixels = (
        cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else photo.copy()
    )
    return _Drawing(np.asarray(pixels, np.uint8), factor, annotate(report)).finish()


class _Drawing:
    def __init__(self, pixels: Pixels, factor: int, annotations: Annotations) -> None:
        height, width = pixels.shape[:2]
        self._pixels, self._factor, self._annotations = pixels, factor, annotations
        self._pen, self._placer = Pen.fitting(width, height, len(annotations.box_labels)), LabelPlacer(width, height)
        self._room_for_words_px = WORDS_SHARE * width * height
        people = sorted(label.of.id for label in annotations.box_labels if label.is_person)
        self._colours = {person: person_colour(at) for at, person in enumerate(people)}

    def finish(self) -> Pixels:
        for label in reversed(self._annotations.box_labels):
            self._box(label)
        curves = [self._curve(link) for link in self._annotations.links]
        for link, curve in reversed([*zip(self._annotations.links, curves, strict=True)]):
            self._link(curve, self._colour(link.person), dashed=link.uncertain)
        return self._write(self._labels(curves))

    def _labels(self, curves: Sequence[Curve]) -> list[PlacedLabel]:
        """Labels of boxes with a part in an interaction, then verbs at links, then the other boxes."""
        box_labels = self._annotations.box_labels
        first = [self._box_label(label) for label in box_labels if label.takes_part]
        verbs = [self._verbs(link, curve) for link, curve in zip(self._annotations.links, curves, strict=True)]
        rest = [self._box_label(label) for label in box_labels if not label.takes_part]
        return [label for label in (*first, *verbs, *rest) if label is not None]

    def _box_label(self, label: BoxLabel) -> PlacedLabel | None:
        box, number = self._scaled(label.of), self._pen.size(label.number)
        # The first line alone where both have no room: what a person does before what is missing.
        for text in dict.fromkeys((label.text, label.text.split("\n")[0])):
            words = self._pen.size(text)
            if words.width * words.height <= self._room_for_words_px and (
                rect := self._placer.place(words, _at_box(box, words))
            ):
                self._room_for_words_px -= words.width * words.height
                return PlacedLabel(rect, text, self._colour_of(label))
        narrow = self._placer.place(number, chain(_at_box(box, number), _in_box(box, number)))
        return PlacedLabel(narrow, label.number, self._colour_of(label)) if narrow else None

    def _verbs(self, link: Link, curve: Curve) -> PlacedLabel | None:
        size = self._pen.size(link.text)
        rect = self._placer.place(size, curve.spots(size))
        return None if rect is None else PlacedLabel(rect, link.text, self._colour(link.person))

    def _box(self, label: BoxLabel) -> None:
        left, top, right, bottom = (round(side) for side in self._scaled(label.of))
        line_px = self._pen.line_px if label.takes_part else max(2, self._pen.line_px // 2)
        right, bottom = right - 1, bottom - 1
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], float)
        lines = _dashes(corners, DASH_LINES * line_px) if label.uncertain else [np.rint(corners).astype(np.int32)]
        for shade, px in ((SHADE, line_px + 2), (self._colour_of(label), line_px)):
            cv2.polylines(self._pixels, lines, isClosed=False, color=shade, thickness=px, lineType=cv2.LINE_AA)

    def _curve(self, link: Link) -> Curve:
        return Curve.between(self._scaled(link.person), self._scaled(link.thing))

    def _link(self, curve: Curve, colour: Colour, *, dashed: bool) -> None:
        line, px = np.rint(curve.points).astype(np.int32), self._pen.line_px
        lines = _dashes(curve.points, DASH_LINES * px) if dashed else [line]
        for shade, more in ((SHADE, 2), (colour, 0)):
            cv2.polylines(self._pixels, lines, isClosed=False, color=shade, thickness=px + more, lineType=cv2.LINE_AA)
            cv2.circle(self._pixels, line[0].tolist(), 2 * px + more // 2, shade, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(self._pixels, line[-1].tolist(), 3 * px + more // 2, shade, px, cv2.LINE_AA)

    def _write(self, labels: Sequence[PlacedLabel]) -> Pixels:
        image = Image.fromarray(self._pixels)
        canvas, pen = ImageDraw.Draw(image), self._pen
        for label in labels:
            left, top, right, bottom = label.rect
            canvas.rectangle((left, top, right - 1, bottom - 1), fill=label.colour)
            for at, line in enumerate(label.text.split("\n")):
                place = left + pen.pad_px, top + pen.pad_px // 2 + at * pen.line_height_px
                canvas.text(place, line, fill=ink_on(label.colour), font=pen.font)
        return np.asarray(image, np.uint8)

    def _colour_of(self, label: BoxLabel) -> Colour:
        return self._colour(label.of) if label.takes_part or label.is_person else BYSTANDER

    def _colour(self, detection: Detection) -> Colour:
        return self._colours.get(detection.id, OBJECT)

    def _scaled(self, detection: Detection) -> list[float]:
        return [side * self._factor for side in detection.box_xyxy]


def _at_box(box_xyxy: list[float], size: Size) -> Iterator[Spot]:
    """Yields spots above the box, within it unless that would hide it, below it, and beside it."""
    left, top, right, bottom = box_xyxy
    fits = size.width <= right - left and 2 * size.height <= bottom - top
    for down in (top - size.height, *((top,) if fits else ()), bottom, *((bottom - size.height,) if fits else ())):
        yield from (Spot(left, down), Spot(right - size.width, down))
    for share in (0, 0.25, 0.5, 0.75, 1):
        down = top + share * (bottom - top - size.height)
        yield from (Spot(left - size.width, down), Spot(right, down))


def _in_box(box_xyxy: list[float], size: Size) -> Iterator[Spot]:
    """Yields spots all over the box, for a number in a crowd."""
    left, top, right, bottom = box_xyxy
    for down in np.linspace(top, max(bottom - size.height, top), GRID):
        for across in np.linspace(left, max(right - size.width, left), GRID):
            yield Spot(float(across), float(down))


def person_colour(at: int) -> Colour:
    """The colour of the n-th person from 0: the palette, then tints of it."""
    tint = TINTS[at // len(PALETTE) % len(TINTS)]
    end = 255 if tint > 0 else 0
    red, green, blue = (round(each + abs(tint) * (end - each)) for each in PALETTE[at % len(PALETTE)])
    return red, green, blue


def _dashes(points: NDArray[np.float64], dash_px: float) -> list[NDArray[np.int32]]:
    """The dashes of a line through points (n, 2), with gaps of the same length."""
    lengths = np.hypot(*np.diff(points, axis=0).T).cumsum()
    along = np.concatenate([[0.0], lengths])
    starts = np.arange(0, max(along[-1], dash_px), 2 * dash_px)
    places = [np.linspace(start, min(start + dash_px, along[-1]), 5) for start in starts]
    return [
        np.rint(np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], 1)).astype(np.int32)
        for at in places
    ]


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever has more contrast with the colour."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in colour)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else (255, 255, 255)
