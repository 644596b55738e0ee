"""Exposure correction: a badly exposed photo in, the photo well exposed and the scene in linear light out."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from services.hdr_correct.correcting import apply_outputs
from services.hdr_correct.grid import CELL_PX
from services.hdr_correct.preview import preview
from services.hdr_correct.rendering import MEDIA_TYPES, render
from services.hdr_correct.result import HdrRequest, HdrResult
from services.hdr_correct.schemas import HdrOptions, HdrRecord
from sightline.api.evidence import Evidence
from sightline.imaging.decoder.pool import decode
from sightline.inference.contract import ContractError
from sightline.inference.predictor import ModelInfo, PictureField, Plan, Rendered, Upload
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights, weights_and_card
from sightline.serving.settings import ServiceSettings

NAME = "hdr_correct"

LEAST_SIDE_PX = 64

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("photo", "uint8", ("h", "w", 3), low=0, high=255),),
    outputs=(
        TensorSpec("compressed", "float32", ("h", "w", 3), low=0, high=1),
        TensorSpec("corrected", "float32", ("h", "w", 3), low=0, high=1),
    ),
    buckets=({"h": 64, "w": 64},),
)

PICTURES = (PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF"),)

DESCRIPTION = """Brings detail back into photos that are too dark, too bright or both, with two reciprocating networks.

The photo comes back in its size, orientation, bit depth and colour space, as PNG unless `Accept` says otherwise. The
networks see a small copy; what they do to it is carried over to every pixel, so that fine detail is the photo's own.
With `Accept: image/vnd.radiance` or `image/x-exr` the scene that they estimate comes as linear light in sRGB's
primaries, 1.0 = the white of a well-exposed photo, upright. `application/zip` has all of it. What was clipped or
crushed is gone: the scene's values there are a guess from their surroundings."""


class HdrPredictor:
    """The planner around any network that corrects a small photo and estimates its scene."""

    options: type[BaseModel] = HdrOptions
    signature = SIGNATURE

    def __init__(self, settings: ServiceSettings, weights: Weights, card: str) -> None:
        self.weights = weights
        self.info = _info(weights, card)
        self._buckets = fitting_sizes(weights)
        self._limits = settings.pixel_limits

    def read(self, upload: Upload) -> HdrRequest:
        assert isinstance(upload.options, HdrOptions)
        return HdrRequest(decode(upload.pictures["image"][0], self._limits), upload.options)

    def predict(self, request: HdrRequest) -> Plan[HdrResult]:
        small = preview(request.picture, self._buckets)
        (outputs,) = yield [{"photo": small.srgb}]
        return apply_outputs(request, small, outputs)

    def render(self, result: HdrResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


def fitting_sizes(weights: Weights) -> Sequence[Mapping[str, int]]:
    """The sizes that the weights take, each a whole number of the grid's cells."""
    buckets = weights.contract.adapt(SIGNATURE).buckets
    for bucket in buckets:
        if any(size % CELL_PX or size < LEAST_SIDE_PX for size in bucket.values()):
            wanted = f"multiples of {CELL_PX} and at least {LEAST_SIDE_PX}"
            raise ContractError(f"{weights.contract.name}: sizes must be {wanted}, {dict(bucket)} is not")
    return buckets


def create(settings: ServiceSettings) -> HdrPredictor:
    return HdrPredictor(settings, *weights_and_card(settings, "services.hdr_correct", f"{NAME}.onnx"))


def _info(weights: Weights, card: str) -> ModelInfo:
    return ModelInfo(
        name=NAME,
        version=weights.contract.version,
        title="Exposure correction and HDR",
        description=DESCRIPTION,
        card=card,
        pictures=PICTURES,
        media_types=MEDIA_TYPES,
        record=HdrRecord,
    )
