"""Materials: a flash photo of a surface in, its diffuse colour, normals and roughness out."""

from collections.abc import Mapping, Sequence
from math import log

from pydantic import BaseModel

from services.svbrdf.estimating import apply_outputs
from services.svbrdf.light import linear_photo
from services.svbrdf.rendering import MEDIA_TYPES, render
from services.svbrdf.result import SvbrdfRequest, SvbrdfResult
from services.svbrdf.schemas import MaterialType, SvbrdfOptions, SvbrdfRecord
from sightline.api.evidence import Evidence
from sightline.imaging.decoder.pool import decode
from sightline.imaging.picture import Picture
from sightline.imaging.surfaces.camera import camera_for
from sightline.imaging.surfaces.mirroring import mirrored_view
from sightline.inference.predictor import ModelInfo, PictureField, Plan, Rendered, Upload
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights, weights_and_card
from sightline.serving.settings import ServiceSettings

NAME = "svbrdf"

SIGNATURE = ModelSignature(
    inputs=(
        TensorSpec("photo", "float32", ("h", "w", 3), low=0, high=1),
        TensorSpec("coordinates", "float32", ("h", "w", 2), low=-1, high=1),
    ),
    outputs=(
        TensorSpec("albedo", "float32", ("h", "w", 3), low=0, high=1),
        TensorSpec("normal", "float32", ("h", "w", 3), low=-1, high=1),
        TensorSpec("roughness", "float32", ("h", "w", 1), low=0, high=1),
        TensorSpec("probabilities", "float32", (len(MaterialType),), low=0, high=1),
    ),
    buckets=({"h": 256, "w": 256}, {"h": 256, "w": 384}, {"h": 384, "w": 256}),
)

PICTURES = (PictureField("image", "The flash photo: JPEG, PNG (8 or 16 bit), WebP, TIFF, HEIC or AVIF"),)

DESCRIPTION = """Estimates what a flat surface is like from one photo taken with the camera's flash: diffuse colour,
normals and roughness at every pixel, and of which type the material is.

Hold the camera level over the surface, some 30 to 50 cm away, with the flash on; the highlight should be near the
middle. The maps have the photo's size. `application/zip` has them as PNG, with the record and a MaterialX document;
`image/x-exr` as one OpenEXR file; `model/gltf-binary` as a material on a plane that opens in any viewer. `image/png`
is the surface under a light of your choice, `image/apng` and `image/gif` show it while the light goes around."""


class SvbrdfPredictor:
    """The predictor around any network that estimates maps from a small photo."""

    options: type[BaseModel] = SvbrdfOptions
    signature = SIGNATURE

    def __init__(self, settings: ServiceSettings, weights: Weights, card: str) -> None:
        self.weights = weights
        self.info = _info(weights, card)
        self._buckets = weights.contract.adapt(SIGNATURE).buckets
        self._limits = settings.pixel_limits

    def read(self, upload: Upload) -> SvbrdfRequest:
        assert isinstance(upload.options, SvbrdfOptions)
        return SvbrdfRequest(decode(upload.pictures["image"][0], self._limits), upload.options)

    def predict(self, request: SvbrdfRequest) -> Plan[SvbrdfResult]:
        picture, options = request.picture, request.options
        camera = camera_for(picture.width, picture.height, options.fov_deg)
        photo = linear_photo(picture, linear=options.linear)
        size = closest_size(picture, self._buckets)
        light, coordinates = photo.stretched(*size), camera.coordinates(*size)
        views = (light, coordinates), mirrored_view(light, coordinates)
        outputs = yield [{"photo": seen, "coordinates": places} for seen, places in views]
        return apply_outputs(request, photo, camera, light, outputs)

    def render(self, result: SvbrdfResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


def closest_size(picture: Picture, buckets: Sequence[Mapping[str, int]]) -> tuple[int, int]:
    """Height and width of the network's photo, in the proportions closest to the photo's."""
    bucket = min(buckets, key=lambda each: abs(log(each["w"] * picture.height / (each["h"] * picture.width))))
    return bucket["h"], bucket["w"]


def create(settings: ServiceSettings) -> SvbrdfPredictor:
    return SvbrdfPredictor(settings, *weights_and_card(settings, "services.svbrdf", f"{NAME}.onnx"))


def _info(weights: Weights, card: str) -> ModelInfo:
    return ModelInfo(
        name=NAME,
        version=weights.contract.version,
        title="Materials from a flash photo",
        description=DESCRIPTION,
        card=card,
        pictures=PICTURES,
        media_types=MEDIA_TYPES,
        record=SvbrdfRecord,
    )
