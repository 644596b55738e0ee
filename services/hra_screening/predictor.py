"""Human-rights screening: photos in, calibrated probabilities of nine classes and a decision or an abstention out."""

from collections.abc import Sequence

from pydantic import BaseModel

from services.hra_screening.facts import Facts
from services.hra_screening.looking import Look, Unreadable, look_at
from services.hra_screening.rendering import MEDIA_TYPES, render
from services.hra_screening.result import ScreeningRequest, ScreeningResult
from services.hra_screening.schemas import ScreeningOptions, ScreeningRecord
from services.hra_screening.verdict import Verdict, conclude
from sightline.api import headers
from sightline.api.evidence import Evidence
from sightline.api.screening import CATEGORIES
from sightline.inference.contract import ContractError
from sightline.inference.predictor import ModelInfo, PictureField, Plan, Rendered, Round, Upload
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.weights import Weights, weights_and_card
from sightline.serving.settings import ServiceSettings

NAME = "hra_screening"

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("image", "uint8", ("h", "w", 3), low=0, high=255),),
    outputs=(
        TensorSpec("logits", "float32", (len(CATEGORIES),)),
        TensorSpec("activation", "float32", ("cells", "cells", len(CATEGORIES))),
        TensorSpec("embedding", "float32", ("channels",)),
    ),
    buckets=({"h": 224, "w": 224, "cells": 7, "channels": 1280},),
)

PICTURES = (
    PictureField(
        "image", "A photo: JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF. May be repeated for a batch", repeatable=True
    ),
)
IMAGES_PER_ROUND = 8

DESCRIPTION = """Sorts photos by what they may show: eight kinds of human-rights violation, or none.

Each photo gets calibrated probabilities of nine classes, and a decision where one of them reaches the threshold, else
`abstain`. **A score is a hint about where to look first. It is never evidence of an abuse**, and every result but a
decision of `no_violation` says that a person needs to look.

Several photos may come in one request. One that cannot be read has its `problem` in its place and the others are
answered; alone, it is the request that fails. `Accept: image/png` or `image/jpeg` draws, for one photo, the class
activation map of the most likely class or of `category` over it."""


class ScreeningPredictor:
    """The planner around any network that classifies square pictures and tells where it looked."""

    options: type[BaseModel] = ScreeningOptions
    signature = SIGNATURE

    def __init__(self, settings: ServiceSettings, weights: Weights, card: str) -> None:
        self.weights = weights
        self.info = _info(weights, card)
        self._facts = weights.contract.read_facts(Facts)
        self._side_px = square_side_px(weights)
        self._limits = settings.pixel_limits

    def read(self, upload: Upload) -> ScreeningRequest:
        assert isinstance(upload.options, ScreeningOptions)
        pictures = upload.pictures["image"]
        looks = [look_at(data, self._limits, self._side_px) for data in pictures]
        if len(looks) == 1 and isinstance(looks[0], Unreadable):
            raise looks[0].problem
        return ScreeningRequest(pictures, looks, upload.options)

    def predict(self, request: ScreeningRequest) -> Plan[ScreeningResult]:
        readable = [(at, look) for at, look in enumerate(request.looks) if isinstance(look, Look)]
        verdicts: dict[int, Verdict] = {}
        for start in range(0, len(readable), IMAGES_PER_ROUND):
            chosen = readable[start : start + IMAGES_PER_ROUND]
            outputs = yield Round(_samples(chosen), done=start / len(readable))
            each = iter(outputs)
            verdicts |= {at: conclude([next(each) for _ in look.views]) for at, look in chosen}
        return ScreeningResult(request, verdicts, self._facts)

    def render(self, result: ScreeningResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence, self._limits)


def square_side_px(weights: Weights) -> int:
    """The side of the pictures that the weights take."""
    bucket = weights.contract.adapt(SIGNATURE).buckets[0]
    if bucket["h"] != bucket["w"]:
        raise ContractError(f"{weights.contract.name}: photos are seen as squares, not at {bucket['h']}x{bucket['w']}")
    return bucket["h"]


def create(settings: ServiceSettings) -> ScreeningPredictor:
    return ScreeningPredictor(settings, *weights_and_card(settings, "services.hra_screening", f"{NAME}.onnx"))


def _samples(chosen: Sequence[tuple[int, Look]]) -> list[Tensors]:
    return [sample for _, look in chosen for sample in look.samples]


def _info(weights: Weights, card: str) -> ModelInfo:
    return ModelInfo(
        name=NAME,
        version=weights.contract.version,
        title="Human-rights screening",
        description=DESCRIPTION,
        card=card,
        pictures=PICTURES,
        media_types=MEDIA_TYPES,
        record=ScreeningRecord,
        headers=(headers.DECISION, headers.CATEGORY),
    )
