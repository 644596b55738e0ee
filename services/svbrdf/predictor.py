"""Materials: a flash photo of a surface in, its diffuse colour, normals and roughness out."""

from services.svbrdf.estimation import SvbrdfRequest, SvbrdfResult, View, apply_outputs
from services.svbrdf.exposure import read_camera_settings
from services.svbrdf.linear_photo import linear_photo
from services.svbrdf.rendering import render
from services.svbrdf.schemas import DECLARATION, MaterialType, SvbrdfOptions
from sightline.api.evidence import Evidence
from sightline.imaging.decoder.pool import decode
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Plan, Predictor, Rendered, Upload
from sightline.inference.settings import InferenceSettings
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights
from sightline.materials.base_colour import BaseColourModel
from sightline.materials.maps import mirrored_view
from sightline.materials.rendering import camera_for

PART = "base_colour"
"""Name of the base colour model among the parts of a contract."""

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


class SvbrdfPredictor(Predictor[SvbrdfOptions, SvbrdfRequest, SvbrdfResult]):
    """Runs any network that estimates maps from a photo in linear light and the coordinates of its pixels."""

    declaration = DECLARATION
    signature = SIGNATURE

    def __init__(self, weights: Weights, settings: InferenceSettings) -> None:
        super().__init__(weights, settings)
        self._sizes = weights.contract.adapt(SIGNATURE)
        self._colours = load_base_colour(weights)

    def read(self, upload: Upload[SvbrdfOptions]) -> SvbrdfRequest:
        file = upload.pictures["image"][0]
        return SvbrdfRequest(decode(file, self.limits), upload.options, read_camera_settings(file))

    def predict(self, request: SvbrdfRequest) -> Plan[SvbrdfResult]:
        picture, options = request.picture, request.options
        camera = camera_for(picture.width, picture.height, options.fov_deg)
        photo = linear_photo(picture, linear=options.linear)
        bucket = self._sizes.nearest_bucket(width=picture.width, height=picture.height)
        size = bucket["h"], bucket["w"]
        light, coordinates = photo.stretched(*size), camera.coordinates(*size)
        views = (light, coordinates), mirrored_view(light, coordinates)
        outputs = yield [{"photo": seen, "coordinates": places} for seen, places in views]
        return apply_outputs(request, View(photo, camera, light, camera.points(*size)), outputs, self._colours)

    def notes(self, result: SvbrdfResult) -> tuple[str, ...]:
        return result.request.picture.notes

    def render(self, result: SvbrdfResult, media_type: str, evidence: Evidence) -> Rendered:
        return render(result, media_type, evidence)


def load_base_colour(weights: Weights) -> BaseColourModel | None:
    """The model of the base colour beside the network; None for weights without one, whose albedo is used as it is."""
    path = weights.parts.get(PART)
    if path is None:
        return None
    try:
        return BaseColourModel.read(path.read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise ContractError(f"{weights.contract.name}: {path.name}: {error}") from error


create = SvbrdfPredictor.load
