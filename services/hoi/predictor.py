"""Human-object interaction: a photo in; people, objects, and who does what with what out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from services.hoi.contract_facts import ContractFacts
from services.hoi.detections import Detections, detections_from, merge_views
from services.hoi.interactions import find_interactions
from services.hoi.rendering import render
from services.hoi.results import HoiRequest, HoiResult, notes_of
from services.hoi.schemas import DECLARATION, HoiOptions
from services.hoi.session import CascadeSession, LayoutGraph
from services.hoi.views import View, tiles, whole_frame
from sightline.api.evidence import Evidence
from sightline.api.headers import DETECTOR
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.inference.detector import (
    DetectorInput,
    DetectorSession,
    DetectorWeights,
    detector_inputs,
    load_detector,
    with_detector,
)
from sightline.inference.engine import Session
from sightline.inference.predictor import Plan, Predictor, Rendered, Round, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.weights import Weights

STEP_PX, MIN_PX = 32, 64
"""Of a picture's sides. A feature map one cell wide is what graphs are seldom exported for."""
MAX_DETECTIONS = 100
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
    buckets=({"h": 320, "w": 320, "found": MAX_DETECTIONS, "slots": SLOTS},),
)

VIEWS_PER_ROUND = 4
MAX_COMPARED = 500


class HoiPredictor(Predictor[HoiOptions, HoiRequest, HoiResult]):
    """Runs a detector and a network that recognises the interactions of the detected people."""

    declaration = DECLARATION
    weights_file = "detector.onnx"

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        self.detector = load_detector(settings.detector) if settings.detector else None
        super().__init__(with_detector(weights, self.detector) if self.detector else weights, settings)
        self.facts = self.weights.contract.read_facts(ContractFacts)
        self.signature = signature_for(self.facts, self.detector)
        self._sizes = self.weights.contract.adapt(self.signature).buckets
        self._layout = LayoutGraph.of(self.weights, settings)

    def open_session(self, signature: ModelSignature, settings: InferenceSettings) -> Session:
        detector = DetectorSession(self.detector, settings) if self.detector else None
        return CascadeSession(self.weights, self.facts, signature, settings, detector)

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
            parts_seen = [pixels if view is views[0] else view.window.cut(pixels) for view in chosen]
            samples = [view.sample(part, self._detector_input) for view, part in zip(chosen, parts_seen, strict=True)]
            outputs = yield Round(samples, done=start / len(views))
            parts += [self._detections(view, each) for view, each in zip(chosen, outputs, strict=True)]
        return self._result(request, views, parts)

    @property
    def _detector_input(self) -> DetectorInput | None:
        return self.detector.contract.input if self.detector else None

    def _detections(self, view: View, outputs: Tensors) -> Detections:
        """The detections of a view in pixels of the photo, without boxes that the view cuts."""
        detections = detections_from(outputs, self.facts.thresholds.detection)
        detections = replace(detections, boxes_xyxy=view.to_photo(detections.boxes_xyxy))
        sides = detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2]
        return detections.select(view.is_whole(detections.boxes_xyxy) & (sides > 0).all(axis=1))

    def _result(self, request: HoiRequest, views: Sequence[View], parts: Sequence[Detections]) -> HoiResult:
        merged, options = merge_views(parts) if len(parts) > 1 else parts[0].sorted_by_score(), request.options
        detections = merged.select(np.arange(min(len(merged), MAX_COMPARED)))
        people = np.flatnonzero(detections.labels == self.facts.person)[: options.max_people].tolist()
        # After merging: the layout network compares the boxes of all views.
        layout = self._layout.run(detections, people, request.size_px) if self._layout else None
        interactions = find_interactions(
            detections, people, self.facts, layout, objects_per_role=options.objects_per_role
        )
        return HoiResult(
            request=request, facts=self.facts, views=views, detections=detections, interactions=interactions
        )

    def notes(self, result: HoiResult) -> list[str]:
        return notes_of(result)

    def render(self, result: HoiResult, media_type: str, evidence: Evidence) -> Rendered:
        rendered = render(result, media_type, evidence, self.limits)
        return replace(rendered, headers={DETECTOR: str(self.detector.identity)}) if self.detector else rendered


def signature_for(facts: ContractFacts, detector: DetectorWeights | None = None) -> ModelSignature:
    """The signature with a size for each of the proportions of photos."""
    longest, counts = facts.longest_side_px, {"found": MAX_DETECTIONS, "slots": len(facts.slots)}
    sides = range(MIN_PX, longest + 1, STEP_PX)
    wide = [{"h": side, "w": longest, **counts} for side in sides]
    high = [{"h": longest, "w": side, **counts} for side in sides if side < longest]
    inputs = SIGNATURE.inputs if detector is None else (*SIGNATURE.inputs, *detector_inputs(detector))
    return replace(SIGNATURE, inputs=inputs).with_buckets(*wide, *high)


create = HoiPredictor.load
