"""Predictor of human-rights screening: calibrated probabilities of nine classes, and a decision or an abstention."""

from collections.abc import Sequence

from services.hra_screening.decision import (
    Classification,
    ContractFacts,
    ScreeningRequest,
    ScreeningResult,
    aggregate,
)
from services.hra_screening.preprocessing import PictureViews, UnreadablePicture, preprocess
from services.hra_screening.rendering import render
from services.hra_screening.schemas import DECLARATION, ScreeningOptions
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

IMAGES_PER_ROUND = 8  # progress is reported between rounds


class ScreeningPredictor(Predictor[ScreeningOptions, ScreeningRequest, ScreeningResult]):
    """Screening with any network that has logits for square pictures and for each cell of them."""

    declaration = DECLARATION
    signature = SIGNATURE

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self._facts = weights.contract.read_facts(ContractFacts)
        self._side_px = weights.square_sides_px(SIGNATURE)[0]

    def read(self, upload: Upload[ScreeningOptions]) -> ScreeningRequest:
        pictures = upload.pictures["image"]
        views = [preprocess(data, self.limits, self._side_px) for data in pictures]
        # One unreadable picture of several must not fail the others: their record describes it instead.
        if len(views) == 1 and isinstance(views[0], UnreadablePicture):
            raise views[0].problem
        return ScreeningRequest(pictures, views, upload.options)

    def predict(self, request: ScreeningRequest) -> Plan[ScreeningResult]:
        readable = [(at, views) for at, views in enumerate(request.views) if isinstance(views, PictureViews)]
        classifications: dict[int, Classification] = {}
        for start in range(0, len(readable), IMAGES_PER_ROUND):
            pictures = readable[start : start + IMAGES_PER_ROUND]
            outputs = yield Round(_samples(pictures), done=start / len(readable))
            # In the order of the samples: all views of the first picture, then all of the second.
            remaining = iter(outputs)
            classifications |= {at: aggregate([next(remaining) for _ in views.views]) for at, views in pictures}
        return ScreeningResult(request, classifications, self._facts)

    def render(self, result: ScreeningResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence, self.limits)


def _samples(pictures: Sequence[tuple[int, PictureViews]]) -> list[Tensors]:
    return [sample for _, views in pictures for sample in views.samples]


create = ScreeningPredictor.load
