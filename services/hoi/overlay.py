"""Who does what with what, drawn over the photo: boxes with numbers, and links with verbs, in a colour per person."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from services.hoi.linking import Curve
from services.hoi.placing import Placer, Rect, Size, Spot
from services.hoi.record import Told
from services.hoi.schemas import Detection
from services.hoi.sketch import Link, Sign, Sketch, sketch

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

LEAST_LONG_SIDE_PX = 800
"""Smaller photos are drawn enlarged: at their own size there would be no room for a letter."""
LEAST_FONT_PX = 14
FONTS_PER_LONG_SIDE, FONTS_PER_SHORT_SIDE = 48, 16
MOST_FONTS_PER_LONG_SIDE, CROWD = 110, 100
"""In a crowd of so many letters are smaller, as there is less room for each."""
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
WORDS_SHARE = 0.06
"""Of the picture that words at boxes may hide; in a crowd the less important have their number alone."""


@dataclass(frozen=True, slots=True)
class Pen:
    """In pixels of the drawing."""

    font: ImageFont.FreeTypeFont
    line_px: int
    pad_px: int

    @classmethod
    def fitting(cls, width: int, height: int, signs: int) -> "Pen":
        lines = np.interp(signs, [0, CROWD], [FONTS_PER_LONG_SIDE, MOST_FONTS_PER_LONG_SIDE])
        share = min(max(width, height) / lines, min(width, height) / FONTS_PER_SHORT_SIDE)
        font_px = max(LEAST_FONT_PX, round(float(share)))
        font = ImageFont.load_default(font_px)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return cls(font, max(2, font_px // 7), max(2, font_px // 5))

    def size(self, text: str) -> Size:
        ascent, descent = self.font.getmetrics()
        return Size(ceil(self.font.getlength(text)) + 2 * self.pad_px, ascent + descent + self.pad_px)


@dataclass(frozen=True, slots=True)
class Label:
    rect: Rect
    text: str
    colour: Colour


def draw(photo: Pixels, told: Told) -> Pixels:
    """(h, w, 3) sRGB, both; a photo whose longer side is short comes enlarged by a whole number."""
    factor = max(1, ceil(LEAST_LONG_SIDE_PX / max(photo.shape[:2])))
    pixels = (
        cv2.resize(photo, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC) if factor > 1 else photo.copy()
    )
    return _Drawing(np.asarray(pixels, np.uint8), factor, sketch(told)).finish()


class _Drawing:
    def __init__(self, pixels: Pixels, factor: int, plan: Sketch) -> None:
        height, width = pixels.shape[:2]
        self._pixels, self._factor, self._plan = pixels, factor, plan
        self._pen, self._placer = Pen.fitting(width, height, len(plan.signs)), Placer(width, height)
        self._room_for_words_px = WORDS_SHARE * width * height
        people = sorted(sign.of.id for sign in plan.signs if sign.is_person)
        self._colours = {person: person_colour(at) for at, person in enumerate(people)}

    def finish(self) -> Pixels:
        for sign in reversed(self._plan.signs):
            self._box(sign)
        curves = [self._curve(link) for link in self._plan.links]
        for link, curve in reversed([*zip(self._plan.links, curves, strict=True)]):
            self._link(curve, self._colour(link.person), dashed=link.uncertain)
        return self._write(self._labels(curves))

    def _labels(self, curves: Sequence[Curve]) -> list[Label]:
        """Those of who takes part, then the verbs between them, then the others."""
        signs = self._plan.signs
        first = [self._sign(sign) for sign in signs if sign.takes_part]
        verbs = [self._verbs(link, curve) for link, curve in zip(self._plan.links, curves, strict=True)]
        rest = [self._sign(sign) for sign in signs if not sign.takes_part]
        return [label for label in (*first, *verbs, *rest) if label is not None]

    def _sign(self, sign: Sign) -> Label | None:
        box, words, number = self._scaled(sign.of), self._pen.size(sign.text), self._pen.size(sign.number)
        if words.width * words.height <= self._room_for_words_px and (
            rect := self._placer.place(words, _at_box(box, words))
        ):
            self._room_for_words_px -= words.width * words.height
            return Label(rect, sign.text, self._colour_of(sign))
        spots = [*_at_box(box, number)]
        narrow = self._placer.place(number, spots) or self._placer.squeeze_in(number, spots)
        return Label(narrow, sign.number, self._colour_of(sign)) if narrow else None

    def _verbs(self, link: Link, curve: Curve) -> Label | None:
        size = self._pen.size(link.text)
        rect = self._placer.place(size, curve.spots(size))
        return None if rect is None else Label(rect, link.text, self._colour(link.person))

    def _box(self, sign: Sign) -> None:
        left, top, right, bottom = (round(side) for side in self._scaled(sign.of))
        line_px = self._pen.line_px if sign.takes_part else max(2, self._pen.line_px // 2)
        right, bottom = right - 1, bottom - 1
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], float)
        lines = _dashes(corners, DASH_LINES * line_px) if sign.uncertain else [np.rint(corners).astype(np.int32)]
        for shade, px in ((SHADE, line_px + 2), (self._colour_of(sign), line_px)):
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

    def _write(self, labels: Sequence[Label]) -> Pixels:
        image = Image.fromarray(self._pixels)
        canvas, pen = ImageDraw.Draw(image), self._pen
        for label in labels:
            left, top, right, bottom = label.rect
            canvas.rectangle((left, top, right - 1, bottom - 1), fill=label.colour)
            canvas.text(
                (left + pen.pad_px, top + pen.pad_px // 2), label.text, fill=ink_on(label.colour), font=pen.font
            )
        return np.asarray(image, np.uint8)

    def _colour_of(self, sign: Sign) -> Colour:
        return self._colour(sign.of) if sign.takes_part or sign.is_person else BYSTANDER

    def _colour(self, detection: Detection) -> Colour:
        return self._colours.get(detection.id, OBJECT)

    def _scaled(self, detection: Detection) -> list[float]:
        return [side * self._factor for side in detection.box_xyxy]


def _at_box(box_xyxy: list[float], size: Size) -> Iterator[Spot]:
    """Above the box, within it unless that would hide it, below it, and beside it."""
    left, top, right, bottom = box_xyxy
    fits = size.width <= right - left and 2 * size.height <= bottom - top
    for down in (top - size.height, *((top,) if fits else ()), bottom, *((bottom - size.height,) if fits else ())):
        yield from (Spot(left, down), Spot(right - size.width, down))
    for share in (0, 0.25, 0.5, 0.75, 1):
        down = top + share * (bottom - top - size.height)
        yield from (Spot(left - size.width, down), Spot(right, down))


def person_colour(at: int) -> Colour:
    """Colour of the person of that number from 0: the palette, and tints of it for more people than it has colours."""
    tint = TINTS[at // len(PALETTE) % len(TINTS)]
    end = 255 if tint > 0 else 0
    red, green, blue = (round(each + abs(tint) * (end - each)) for each in PALETTE[at % len(PALETTE)])
    return red, green, blue


def _dashes(points: NDArray[np.float64], dash_px: float) -> list[NDArray[np.int32]]:
    """A line through points (n, 2) as dashes, each followed by a gap of the same length."""
    lengths = np.hypot(*np.diff(points, axis=0).T).cumsum()
    along = np.concatenate([[0.0], lengths])
    starts = np.arange(0, max(along[-1], dash_px), 2 * dash_px)
    places = [np.linspace(start, min(start + dash_px, along[-1]), 5) for start in starts]
    return [
        np.rint(np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], 1)).astype(np.int32)
        for at in places
    ]


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever can be read on it."""
    red, green, blue = ((channel / 255) ** 2.2 for channel in colour)
    return (0, 0, 0) if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else (255, 255, 255)
