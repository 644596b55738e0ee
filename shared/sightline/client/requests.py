"""Requests to the five models: their options, and the parsers of their replies."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar

from sightline.api.media_types import JPEG, JSON, OPENEXR, PNG, RADIANCE, WEBP, ZIP
from sightline.client import results
from sightline.client.pictures import PictureInput, encode
from sightline.client.results import (
    FileResult,
    HdrResult,
    HttpReply,
    InpaintResult,
    InteractionResult,
    MaterialResult,
    Screening,
)

ResultT = TypeVar("ResultT", covariant=True)
PictureFormat = Literal["png", "jpeg", "webp", "zip"]
FORMATS: Mapping[str, str] = {"png": PNG, "jpeg": JPEG, "webp": WEBP, "hdr": RADIANCE, "exr": OPENEXR, "zip": ZIP}


class InpaintOptions(TypedDict, total=False):
    """Options of `inpaint`.

    regions: holes as `{"boxes": [[left, top, right, bottom]], "polygons": [[[x, y], ...]]}` in pixels of the displayed
    photo, instead of a mask; format: of the returned picture, or `zip` for an archive of photo, map and record; output:
    the filled photo, or the map of synthesised pixels; method: with copies of other parts of the photo in deep holes,
    or by the network alone.
    """

    regions: Mapping[str, Any]
    format: PictureFormat
    output: Literal["photo", "map"]
    method: Literal["patches", "network"]


class HdrOptions(TypedDict, total=False):
    """Options of `hdr_correct`.

    strength: share of the correction, 0 to 1; depth: bits per sample of PNG, 8 or 16; format: a corrected photo as
    `png`, `jpeg` or `webp`, the estimated scene as `hdr` or `exr`, or an archive of all as `zip`; output: the corrected
    photo, or the map of synthesised pixels.
    """

    strength: float
    depth: Literal[8, 16]
    format: Literal["png", "jpeg", "webp", "hdr", "exr", "zip"]
    output: Literal["photo", "map"]


class ScreenOptions(TypedDict, total=False):
    """Options of `screen`.

    threshold: probability from which a class is the decision, 0 to 1; category: class of the heat map; heat_map,
    embedding: include them in the record.
    """

    threshold: float
    category: str
    heat_map: bool
    embedding: bool


class InteractionOptions(TypedDict, total=False):
    """Options of `interactions`.

    min_score, min_detection_score: minimum scores, 0 to 1; max_people: number of people to report; objects_per_role:
    number of objects for an action of a person; tiles: analyse large photos part by part, at most `max_tiles`; frame:
    of the reported boxes, as displayed or as stored.
    """

    min_score: float
    min_detection_score: float
    max_people: int
    objects_per_role: int
    tiles: bool
    max_tiles: int
    frame: Literal["displayed", "stored"]


class MaterialOptions(TypedDict, total=False):
    """Options of `material`.

    fov_deg: field of view across the longer side, in degrees; linear: the samples are proportional to light; exposure:
    linear value of white paper in the middle of the photo; flash_distance_m, flash_cd: distance in metres and intensity
    in candela of the flash; refine: smooth the maps; depth: bits per sample of the maps, 8 or 16.
    """

    fov_deg: float
    linear: bool
    exposure: float
    flash_distance_m: float
    flash_cd: float
    refine: bool
    depth: Literal[8, 16]


@dataclass(frozen=True)
class Prediction(Generic[ResultT]):
    """A request to a model: encoded pictures by form field, options as text, and the parser of the reply."""

    model: str
    pictures: Sequence[tuple[str, PictureInput]]
    options: Mapping[str, str]
    accept: str
    parse: Callable[[HttpReply], ResultT]


def inpaint(image: PictureInput, mask: PictureInput | None, options: InpaintOptions) -> Prediction[InpaintResult]:
    pictures = [("image", image), *([("mask", mask)] if mask is not None else [])]
    accept = FORMATS[options.get("format", "png")]
    chosen = {name: value for name, value in options.items() if (name, value) != ("format", "zip")}
    return _prediction("inpaint", pictures, chosen, accept, results.parse_inpaint)


def hdr_correct(image: PictureInput, options: HdrOptions) -> Prediction[HdrResult]:
    chosen = {name: value for name, value in options.items() if name != "format"}
    accept = FORMATS[options.get("format", "png")]
    return _prediction("hdr_correct", [("image", image)], chosen, accept, results.parse_hdr)


def screen(image: PictureInput, options: ScreenOptions) -> Prediction[Screening]:
    return _prediction("hra_screening", [("image", image)], options, JSON, results.parse_screening)


def interactions(image: PictureInput, options: InteractionOptions) -> Prediction[InteractionResult]:
    return _prediction("hoi", [("image", image)], options, JSON, results.parse_interactions)


def material(image: PictureInput, options: MaterialOptions) -> Prediction[MaterialResult]:
    return _prediction("svbrdf", [("image", image)], options, ZIP, results.parse_material)


def predict(
    model: str, pictures: Sequence[tuple[str, PictureInput]], options: Mapping[str, Any], accept: str
) -> Prediction[FileResult]:
    return _prediction(model, pictures, options, accept, results.parse_file)


def _prediction(
    model: str,
    pictures: Sequence[tuple[str, PictureInput]],
    options: Mapping[str, Any],
    accept: str,
    parse: Callable[[HttpReply], ResultT],
) -> Prediction[ResultT]:
    texts = {name: _text(value) for name, value in options.items() if value is not None}
    return Prediction(model, [(name, encode(picture)) for name, picture in pictures], texts, accept, parse)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (Mapping, list, tuple)) else str(value)
