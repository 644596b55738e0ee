"""Human-object interaction: a photo in; people, objects, and who does what with what out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import BaseModel

from services.hoi.cascade import Cascade
from services.hoi.facts import Facts
from services.hoi.found import Found, found_in, together
from services.hoi.interactions import interactions
from services.hoi.rendering import MEDIA_TYPES, render
from services.hoi.result import HoiRequest, HoiResult
from services.hoi.schemas import HoiOptions, HoiRecord
from services.hoi.views import View, tiles, whole_frame
from sightline.api.evidence import Evidence
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.inference.engine import Session
from sightline.inference.predictor import ModelInfo, PictureField, Plan, Rendered, Round, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec
from sightline.inference.weights import Weights, weights_and_card
from sightline.serving.settings import ServiceSettings

NAME = "hoi"
FILE = "detector.onnx"
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

PICTURES = (PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC, AVIF or GIF"),)
VIEWS_PER_ROUND = 4
MOST_COMPARED = 500

DESCRIPTION = """Finds people and objects, and who does what with what: triplets of person, verb and object.

Verbs are those of V-COCO, classes of objects those of COCO. A person may do several things, an object may serve
several people, and people are objects to one another. Each triplet has a score and the four factors it is the product
of, and the place where the person's looks alone say that the object is. A verb for which no object fits is told
without one.

`Accept: image/png` or `image/jpeg` draws it over the photo, `application/ld+json` and `application/graphml+xml` have
it as a graph. `tiles=true` looks at large photos part by part, for people who are small in them. **A score is a hint
about where to look, never evidence of what someone did.**"""


class HoiPredictor:
    """The planner around a detector and a network that tells what the people that it finds are doing."""

    options: type[BaseModel] = HoiOptions

    def __init__(self, settings: ServiceSettings, weights: Weights, card: str) -> None:
        self.weights = weights
        self.info = _info(weights, card)
        self.facts = weights.contract.read_facts(Facts)
        self.signature = signature_for(self.facts)
        self._sizes = weights.contract.adapt(self.signature).buckets
        self._limits = settings.pixel_limits

    def open_session(self, signature: ModelSignature, settings: InferenceSettings) -> Session:
        return Cascade(self.weights, self.facts, signature, settings)

    def read(self, upload: Upload) -> HoiRequest:
        assert isinstance(upload.options, HoiOptions)
        (data,), options = upload.pictures["image"], upload.options
        small_enough = None if options.tiles else 2 * self.facts.longest_side_px
        return HoiRequest(data, decode(data, self._limits, min_short_side_px=small_enough), options)

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

    def render(self, result: HoiResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence, self._limits)


def signature_for(facts: Facts) -> ModelSignature:
    """With a size for each of the proportions that a photo may have."""
    longest, found = facts.longest_side_px, {"found": MOST_FOUND, "slots": len(facts.slots)}
    sides = range(LEAST_PX, longest + 1, STEP_PX)
    wide = [{"h": side, "w": longest, **found} for side in sides]
    high = [{"h": longest, "w": side, **found} for side in sides if side < longest]
    return SIGNATURE.with_buckets(*wide, *high)


def create(settings: ServiceSettings) -> HoiPredictor:
    return HoiPredictor(settings, *weights_and_card(settings, "services.hoi", FILE))


def _info(weights: Weights, card: str) -> ModelInfo:
    return ModelInfo(
        name=NAME,
        version=weights.contract.version,
        title="Human-object interaction",
        description=DESCRIPTION,
        card=card,
        pictures=PICTURES,
        media_types=MEDIA_TYPES,
        record=HoiRecord,
    )
