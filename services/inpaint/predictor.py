"""Inpainting: a photo with holes in, the photo with the holes filled out."""

from pydantic import BaseModel

from services.inpaint.filling import fill_holes
from services.inpaint.holes import find_holes
from services.inpaint.levels import Level
from services.inpaint.pasting import paste
from services.inpaint.rendering import MEDIA_TYPES, render
from services.inpaint.result import InpaintRequest, InpaintResult
from services.inpaint.schemas import InpaintOptions, InpaintRecord
from sightline.api import headers
from sightline.api.evidence import Evidence
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.inference.contract import ContractError
from sightline.inference.predictor import ModelInfo, PictureField, Plan, Rendered, Upload
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights, weights_and_card
from sightline.serving.settings import ServiceSettings

NAME = "inpaint"

SIGNATURE = ModelSignature(
    inputs=(
        TensorSpec("image", "uint8", ("h", "w", 3), low=0, high=255),
        TensorSpec("mask", "uint8", ("h", "w", 1), low=0, high=1),
    ),
    outputs=(TensorSpec("filled", "float32", ("h", "w", 3), low=0, high=1),),
    buckets=({"h": 256, "w": 256}, {"h": 512, "w": 512}),
)

PICTURES = (
    PictureField("image", "The photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF"),
    PictureField(
        "mask",
        "White where the photo is to be filled; any mode, resized to the photo if need be. Left out when `regions` "
        "or the photo's transparent pixels say where the holes are",
        required=False,
    ),
)

DESCRIPTION = """Fills irregular holes of a photo with a partial-convolution U-Net.

The holes come from a second picture `mask`, from `regions`, or from the photo's transparent pixels. The photo comes
back in its size, orientation, bit depth and colour space, as PNG unless `Accept` or `format` says otherwise; in PNG
every pixel outside the holes is the one that was sent. What comes back in the holes is invented, in large photos by
copying other parts of the photo: it says nothing about what was there."""


class InpaintPredictor:
    """The planner around any network that fills square pictures of one or a few sizes."""

    options: type[BaseModel] = InpaintOptions
    signature = SIGNATURE

    def __init__(self, settings: ServiceSettings, weights: Weights, card: str) -> None:
        self.weights = weights
        self.info = _info(weights, card)
        self._sides_px = square_sides_px(weights)
        self._limits = settings.pixel_limits

    def read(self, upload: Upload) -> InpaintRequest:
        assert isinstance(upload.options, InpaintOptions)
        picture = decode(upload.pictures["image"][0], self._limits)
        mask = next(iter(upload.pictures.get("mask", ())), None)
        holes = find_holes(picture, mask, upload.options.regions, self._limits)
        return InpaintRequest(picture, holes, upload.options)

    def predict(self, request: InpaintRequest) -> Plan[InpaintResult]:
        picture, hole = request.picture, request.holes.mask
        if not request.holes.pixels:
            return InpaintResult(request, picture.pixels, ())
        filled = yield from fill_holes(Level(to_srgb(picture), hole), self._sides_px)
        return InpaintResult(request, paste(picture, hole, filled.fill), filled.passes)

    def render(self, result: InpaintResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


def square_sides_px(weights: Weights) -> list[int]:
    """The sizes that the weights take, smallest first."""
    sizes = [(bucket["h"], bucket["w"]) for bucket in weights.contract.adapt(SIGNATURE).buckets]
    if any(height != width for height, width in sizes):
        raise ContractError(f"{weights.contract.name}: holes are filled in squares, not at {sizes[0]}")
    return sorted(height for height, _ in sizes)


def create(settings: ServiceSettings) -> InpaintPredictor:
    return InpaintPredictor(settings, *weights_and_card(settings, "services.inpaint", f"{NAME}.onnx"))


def _info(weights: Weights, card: str) -> ModelInfo:
    return ModelInfo(
        name=NAME,
        version=weights.contract.version,
        title="Inpainting",
        description=DESCRIPTION,
        card=card,
        pictures=PICTURES,
        media_types=MEDIA_TYPES,
        record=InpaintRecord,
        headers=(headers.SYNTHESISED_SHARE,),
    )
