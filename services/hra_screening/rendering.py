"""Representations of a result: the JSON record, and a heat map over the picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hra_screening.decision import Classification, ContractFacts, ScreeningResult, decision_name, softmax
from services.hra_screening.preprocessing import PictureViews, UnreadablePicture
from services.hra_screening.schemas import (
    Fault,
    HeatMap,
    Probabilities,
    Refused,
    Screened,
    ScreeningOptions,
    ScreeningRecord,
    Support,
)
from sightline.api import headers
from sightline.api.evidence import Evidence
from sightline.api.media_types import JSON
from sightline.api.problems import Code, Problem
from sightline.api.screening import CATEGORIES, Category
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.imaging.encoder import encode
from sightline.imaging.limits import PixelLimits
from sightline.inference.predictor import Rendered

MAX_OPACITY = 0.6
"""Opacity of the hottest colour."""
BAND_ROWS = 64
"""Rows blended at a time: in floating point a photo of 108 megapixels would take 4 GB at once."""


def render(result: ScreeningResult, media_type: str, evidence: Evidence, limits: PixelLimits) -> Rendered:
    """The result in the media type."""
    if media_type == JSON:
        return Rendered(describe(result, evidence).model_dump_json().encode(), JSON)
    return _draw(result, media_type, limits)


def describe(result: ScreeningResult, evidence: Evidence) -> ScreeningRecord:
    """The JSON record."""
    results = [_describe(result, at, views) for at, views in enumerate(result.request.views)]
    return ScreeningRecord(results=results, support=support_of(result.facts), evidence=evidence)


def support_of(facts: ContractFacts) -> dict[Category, Support]:
    """The training support of each class."""
    return {
        category: Support(images=facts.support.get(category), supported=facts.supports(category))
        for category in CATEGORIES
    }


def _describe(result: ScreeningResult, at: int, views: PictureViews | UnreadablePicture) -> Screened | Refused:
    if isinstance(views, UnreadablePicture):
        fault = Fault(code=views.problem.code, detail=views.problem.detail)
        return Refused(index=at, sha256=views.sha256, problem=fault)
    classification, threshold, options = result.classifications[at], result.threshold, result.request.options
    decision = result.decision(at)
    probabilities = dict(zip(CATEGORIES, map(float, classification.probabilities), strict=True))
    return Screened.model_validate(
        {
            "index": at,
            "sha256": views.sha256,
            "width": views.width,
            "height": views.height,
            "probabilities": Probabilities(**probabilities),
            "decision": decision_name(decision),
            "most_likely": classification.most_likely,
            "violation_probability": classification.violation_probability,
            "threshold": threshold.value,
            "threshold_version": threshold.version,
            # An abstention needs review as a suspected violation does.
            "needs_review": decision is not Category.NO_VIOLATION,
            "perceptual_hash": f"{views.perceptual_hash:016x}",
            "heat_map": heat_map(classification, options) if options.heat_map else None,
            "embedding": classification.embedding.tolist() if options.embedding else None,
            "notes": list(views.notes),
        }
    )


def heat_map(classification: Classification, options: ScreeningOptions) -> HeatMap:
    """The class activation map of the requested class, or of the most likely one."""
    category = options.category or classification.most_likely
    return HeatMap(
        category=category,
        logits=cell_logits(classification, category).tolist(),
        probabilities=cell_probabilities(classification, category).tolist(),
    )


def _draw(result: ScreeningResult, media_type: str, limits: PixelLimits) -> Rendered:
    if len(result.request.pictures) > 1:
        detail = "A heat map can be drawn of a single picture only; request JSON for several."
        raise Problem(Code.NOT_ACCEPTABLE, detail, offered=[JSON])
    (data,), classification = result.request.pictures, result.classifications[0]
    picture = decode(data, limits)
    category = result.request.options.category or classification.most_likely
    pixels = draw_overlay(to_srgb(picture), cell_probabilities(classification, category))
    extra = {headers.DECISION: decision_name(result.decision(0)), headers.CATEGORY: str(category)}
    return Rendered(encode(pixels, media_type, picture.with_srgb_pixels(pixels)), media_type, extra)


def cell_logits(classification: Classification, category: Category) -> NDArray[np.float32]:
    """(rows, columns): the logits of a class in each cell."""
    return np.asarray(classification.activation[..., CATEGORIES.index(category)], np.float32)


def cell_probabilities(classification: Classification, category: Category) -> NDArray[np.float32]:
    """(rows, columns) in 0..1: the probability of the class for a picture whose every cell looks like this one."""
    return np.asarray(softmax(classification.activation)[..., CATEGORIES.index(category)], np.float32)


def draw_overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w, 3) sRGB below a heat map in 0..1 of any size: transparent at 0, yellow at 1."""
    height, width = pixels.shape[:2]
    smooth = np.asarray(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    np.clip(smooth, 0, 1, out=smooth)
    drawn = np.empty_like(pixels)
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        drawn[rows] = _blend(pixels[rows], smooth[rows])
    return drawn


def _blend(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (MAX_OPACITY * heat)[..., None]
    return np.asarray(pixels * (1 - share) + colours * share + 0.5, np.uint8)  # + 0.5 rounds to the nearest
