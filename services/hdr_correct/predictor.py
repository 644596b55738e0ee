"""Predictor of exposure correction: the corrected photo and the scene in linear light, from a badly exposed photo."""

from services.hdr_correct.bilateral_grid import CELL_PX
from services.hdr_correct.correction import HdrRequest, HdrResult, apply_outputs
from services.hdr_correct.preview import preview
from services.hdr_correct.rendering import render
from services.hdr_correct.schemas import DECLARATION, HdrOptions
from sightline.api.evidence import Evidence
from sightline.imaging.decoder.pool import decode
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Plan, Predictor, Rendered, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights

MIN_SIDE_PX = 64

SIGNATURE = ModelSignature(
    inputs=(TensorSpec("photo", "uint8", ("h", "w", 3), low=0, high=255),),
    outputs=(
        TensorSpec("compressed", "float32", ("h", "w", 3), low=0, high=1),
        TensorSpec("corrected", "float32", ("h", "w", 3), low=0, high=1),
    ),
    buckets=({"h": 64, "w": 64},),
)


class HdrPredictor(Predictor[HdrOptions, HdrRequest, HdrResult]):
    """Exposure correction with any network that corrects a small copy of a photo and estimates its scene."""

    declaration = DECLARATION
    signature = SIGNATURE

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self._sizes = sizes_of_whole_cells(weights)

    def read(self, upload: Upload[HdrOptions]) -> HdrRequest:
        return HdrRequest(decode(upload.pictures["image"][0], self.limits), upload.options)

    def predict(self, request: HdrRequest) -> Plan[HdrResult]:
        picture = request.picture
        size = self._sizes.nearest_bucket(width=picture.width, height=picture.height)
        small = preview(picture, width=size["w"], height=size["h"])
        (outputs,) = yield [{"photo": small.srgb}]
        return apply_outputs(request, small, outputs)

    def notes(self, result: HdrResult) -> tuple[str, ...]:
        return result.request.picture.notes

    def synthesised_share(self, result: HdrResult) -> float:
        return result.synthesised_share

    def render(self, result: HdrResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


def sizes_of_whole_cells(weights: Weights) -> ModelSignature:
    """The signature with the input sizes of the weights; ContractError where the grid's cells do not divide one."""
    signature = weights.contract.adapt(SIGNATURE)
    for bucket in signature.buckets:
        if any(size % CELL_PX or size < MIN_SIDE_PX for size in bucket.values()):
            wanted = f"multiples of {CELL_PX} and at least {MIN_SIDE_PX}"
            raise ContractError(f"{weights.contract.name}: sizes must be {wanted}, {dict(bucket)} is not")
    return signature


create = HdrPredictor.load
