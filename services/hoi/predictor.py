"""Human-object interaction: a photo in; people, objects, and who does what with what out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.hoi.cascade import Cascade
from services.hoi.facts import Facts
from services.hoi.found import Found, found_in, together
from services.hoi.interactions import interactions
from services.hoi.record import notes_of
from services.hoi.rendering import render
from services.hoi.result import HoiRequest, HoiResult
from services.hoi.schemas import DECLARATION, HoiOptions
from services.hoi.views import View, tiles, whole_frame
from sightline.api.evidence import Evidence
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.inference.engine import Session
from sightline.inference.predictor import Plan, Predictor, Rendered, Round, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.weights import Weights

STEP_PX, LEAST_PX = 32, 64
"""Of a picture's sides. A feature map one cell wide is what graphs are seldom exported for."""
MOST_FOUND = 100
SLOTS = 29

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("image", "uint8", ("h", "w", 3), low=0, high=255),),
    outputs=(
        TensorSpec("boxes", "float32", ("found", 4)),
        TensorSpec("scores", "float32", ("found",)),
        TensorSpec("labels", "int64", ("found",)),
        TensorSpec("actions", "float32", ("found", "slots")),
        TensorSpec("targets", "float32", ("found", "slots", 4)),
        TensorSpec("person_logits", "float32", ("found", "slots")),
        TensorSpec("object_logits", "float32", ("found", "slots")),
    ),
    buckets=({"h": 320, "w": 320, "found": MOST_FOUND, "slots": SLOTS},),
)

VIEWS_PER_ROUND = 4
MOST_COMPARED = 500


class HoiPredictor(Predictor[HoiOptions, HoiRequest, HoiResult]):
    """Runs a detector and a network that recognises the interactions of the detected people."""

    declaration = DECLARATION
    weights_file = "detector.onnx"

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self.facts = weights.contract.read_facts(Facts)
        self.signature = signature_for(self.facts)
        self._sizes = weights.contract.adapt(self.signature).buckets

    def open_session(self, signature: ModelSignature, settings: InferenceSettings) -> Session:
        return Cascade(self.weights, self.facts, signature, settings)

    def read(self, upload: Upload[HoiOptions]) -> HoiRequest:
        (data,), options = upload.pictures["image"], upload.options
        small_enough = None if options.tiles else 2 * self.facts.longest_side_px
        return HoiRequest(data, decode(data, self.limits, min_short_side_px=small_enough), options)

    def predict(self, request: HoiRequest) -> Plan[HoiResult]:
        width, height = request.size_px
        views = [whole_frame(width, height, self._sizes)]
        if request.options.tiles:
            views += tiles(width, height, self._sizes, request.options.max_tiles)
        pixels, parts = to_srgb(request.picture), []
        for start in range(0, len(views), VIEWS_PER_ROUND):
            chosen = views[start : start + VIEWS_PER_ROUND]
            samples = [{"image": view.draw(pixels if view is views[0] else view.window.cut(pixels))} for view in chosen]
            outputs = yield Round(samples, done=start / len(views))
            parts += [self._seen(view, each) for view, each in zip(chosen, outputs, strict=True)]
        return self._conclude(request, views, parts)

    def _seen(self, view: View, outputs: Tensors) -> Found:
        """In pixels of the photo, without what the view cut off."""
        found = found_in(outputs, self.facts.thresholds.detection)
        found = replace(found, boxes_xyxy=view.to_photo(found.boxes_xyxy))
        sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
        return found.at(view.whole(found.boxes_xyxy) & (sides > 0).all(axis=1))

    def _conclude(self, request: HoiRequest, views: Sequence[View], parts: Sequence[Found]) -> HoiResult:
        everything, options = together(parts) if len(parts) > 1 else parts[0].best_first(), request.options
        found = everything.at(np.arange(min(len(everything), MOST_COMPARED)))
        people = np.flatnonzero(found.labels == self.facts.person)[: options.max_people].tolist()
        return HoiResult(
            request=request,
            facts=self.facts,
            views=views,
            found=found,
            interactions=interactions(found, people, self.facts, objects_per_role=options.objects_per_role),
        )

    def notes(self, result: HoiResult) -> list[str]:
        return notes_of(result)

    def render(self, result: HoiResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence, self.limits)


def signature_for(facts: Facts) -> ModelSignature:
    """With a size for each of the proportions that a photo may have."""
    longest, found = facts.longest_side_px, {"found": MOST_FOUND, "slots": len(facts.slots)}
    sides = range(LEAST_PX, longest + 1, STEP_PX)
    wide = [{"h": side, "w": longest, **found} for side in sides]
    high = [{"h": longest, "w": side, **found} for side in sides if side < longest]
    return SIGNATURE.with_buckets(*wide, *high)


create = HoiPredictor.load
