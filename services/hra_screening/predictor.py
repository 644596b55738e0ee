"""Human-rights screening: photos in, calibrated probabilities of nine classes and a decision or an abstention out."""

from collections.abc import Sequence

from services.hra_screening.facts import Facts
from services.hra_screening.looking import Look, Unreadable, look_at
from services.hra_screening.rendering import render
from services.hra_screening.result import ScreeningRequest, ScreeningResult
from services.hra_screening.schemas import DECLARATION, ScreeningOptions
from services.hra_screening.verdict import Verdict, conclude
from sightline.api.evidence import Evidence
from sightline.api.screening import CATEGORIES
from sightline.inference.predictor import Plan, Predictor, Rendered, Round, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.weights import Weights

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("image", "uint8", ("h", "w", 3), low=0, high=255),),
    outputs=(
        TensorSpec("logits", "float32", (len(CATEGORIES),)),
        TensorSpec("activation", "float32", ("cells", "cells", len(CATEGORIES))),
        TensorSpec("embedding", "float32", ("channels",)),
    ),
    buckets=({"h": 224, "w": 224, "cells": 7, "channels": 1280},),
)

IMAGES_PER_ROUND = 8


class ScreeningPredictor(Predictor[ScreeningOptions, ScreeningRequest, ScreeningResult]):
    """Runs any network that classifies square pictures and maps its logits over them."""

    declaration = DECLARATION
    signature = SIGNATURE

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self._facts = weights.contract.read_facts(Facts)
        self._side_px = weights.square_sides_px(SIGNATURE)[0]

    def read(self, upload: Upload[ScreeningOptions]) -> ScreeningRequest:
        pictures = upload.pictures["image"]
        looks = [look_at(data, self.limits, self._side_px) for data in pictures]
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
        return render(result, media_type, evidence, self.limits)


def _samples(chosen: Sequence[tuple[int, Look]]) -> list[Tensors]:
    return [sample for _, look in chosen for sample in look.samples]


create = ScreeningPredictor.load
