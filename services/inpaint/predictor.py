"""Predictor that fills the holes of a photo."""

from services.inpaint.coarse_to_fine import fill_holes
from services.inpaint.compositing.paste import paste
from services.inpaint.holes import find_holes
from services.inpaint.pyramid import PyramidLevel
from services.inpaint.rendering import render
from services.inpaint.result import InpaintRequest, InpaintResult
from services.inpaint.schemas import DECLARATION, InpaintOptions, Method
from sightline.api.evidence import Evidence
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.inference.predictor import Plan, Predictor, Rendered, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights

SIGNATURE = ModelSignature(
    inputs=(
        TensorSpec("image", "uint8", ("h", "w", 3), low=0, high=255),
        TensorSpec("mask", "uint8", ("h", "w", 1), low=0, high=1),
    ),
    outputs=(TensorSpec("filled", "float32", ("h", "w", 3), low=0, high=1),),
    buckets=({"h": 256, "w": 256}, {"h": 512, "w": 512}),
)


class InpaintPredictor(Predictor[InpaintOptions, InpaintRequest, InpaintResult]):
    """Runs any network that fills square pictures of one or a few sizes."""

    declaration = DECLARATION
    signature = SIGNATURE

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self._sides_px = weights.square_sides_px(SIGNATURE)

    def read(self, upload: Upload[InpaintOptions]) -> InpaintRequest:
        picture = decode(upload.pictures["image"][0], self.limits)
        mask = next(iter(upload.pictures.get("mask", ())), None)
        holes = find_holes(picture, mask, upload.options.regions, self.limits)
        return InpaintRequest(picture, holes, upload.options)

    def predict(self, request: InpaintRequest) -> Plan[InpaintResult]:
        picture, hole = request.picture, request.holes.mask
        if not request.holes.pixels:
            return InpaintResult(request, picture.pixels, ())
        level, copy_patches = PyramidLevel(to_srgb(picture), hole), request.options.method is Method.PATCHES
        filled = yield from fill_holes(level, self._sides_px, copy_patches=copy_patches)
        return InpaintResult(request, paste(picture, hole, filled.fill), filled.passes)

    def notes(self, result: InpaintResult) -> list[str]:
        return result.notes

    def synthesised_share(self, result: InpaintResult) -> float:
        return result.request.holes.share

    def render(self, result: InpaintResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


create = InpaintPredictor.load
