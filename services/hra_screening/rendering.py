"""A result as record or as heat map over the picture."""

from services.hra_screening.facts import Facts
from services.hra_screening.heat import cell_logits, cell_probabilities, overlay
from services.hra_screening.looking import Look, Unreadable
from services.hra_screening.result import ScreeningResult
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
from services.hra_screening.verdict import Verdict, name_of
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


def render(result: ScreeningResult, media_type: str, evidence: Evidence, limits: PixelLimits) -> Rendered:
    if media_type == JSON:
        return Rendered(describe(result, evidence).model_dump_json().encode(), JSON)
    return _draw(result, media_type, limits)


def describe(result: ScreeningResult, evidence: Evidence) -> ScreeningRecord:
    results = [_describe(result, at, look) for at, look in enumerate(result.request.looks)]
    return ScreeningRecord(results=results, support=support_of(result.facts), evidence=evidence)


def support_of(facts: Facts) -> dict[Category, Support]:
    return {
        category: Support(images=facts.support.get(category), supported=facts.supports(category))
        for category in CATEGORIES
    }


def _describe(result: ScreeningResult, at: int, look: Look | Unreadable) -> Screened | Refused:
    if isinstance(look, Unreadable):
        return Refused(index=at, sha256=look.sha256, problem=Fault(code=look.problem.code, detail=look.problem.detail))
    verdict, threshold, options = result.verdicts[at], result.threshold, result.request.options
    decision = result.decision(at)
    chances = {category: float(chance) for category, chance in zip(CATEGORIES, verdict.probabilities, strict=True)}
    return Screened.model_validate(
        {
            "index": at,
            "sha256": look.sha256,
            "width": look.width,
            "height": look.height,
            "probabilities": Probabilities(**chances),
            "decision": name_of(decision),
            "most_likely": verdict.most_likely,
            "violation_probability": verdict.violation_probability,
            "threshold": threshold.value,
            "threshold_version": threshold.version,
            "needs_review": decision is not Category.NO_VIOLATION,
            "perceptual_hash": f"{look.perceptual_hash:016x}",
            "heat_map": heat_map(verdict, options) if options.heat_map else None,
            "embedding": verdict.embedding.tolist() if options.embedding else None,
            "notes": list(look.notes),
        }
    )


def heat_map(verdict: Verdict, options: ScreeningOptions) -> HeatMap:
    category = options.category or verdict.most_likely
    return HeatMap(
        category=category,
        logits=cell_logits(verdict, category).tolist(),
        probabilities=cell_probabilities(verdict, category).tolist(),
    )


def _draw(result: ScreeningResult, media_type: str, limits: PixelLimits) -> Rendered:
    if len(result.request.pictures) > 1:
        detail = "A heat map is of one picture; of several only the record can be had."
        raise Problem(Code.NOT_ACCEPTABLE, detail, offered=[JSON])
    (data,), verdict = result.request.pictures, result.verdicts[0]
    picture = decode(data, limits)
    category = result.request.options.category or verdict.most_likely
    pixels = overlay(to_srgb(picture), cell_probabilities(verdict, category))
    extra = {headers.DECISION: name_of(result.decision(0)), headers.CATEGORY: str(category)}
    return Rendered(encode(pixels, media_type, picture.with_srgb_pixels(pixels)), media_type, extra)
