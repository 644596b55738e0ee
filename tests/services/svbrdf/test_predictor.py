"""The whole way with a network whose answer is known: the photo as albedo, a bowl, and roughness 0.3 + y / 4."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from services.svbrdf.predictor import SvbrdfPredictor, create
from services.svbrdf.schemas import MaterialType, SvbrdfOptions
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Rendered, Upload
from sightline.inference.weights import Weights
from sightline.networks.svbrdf_net import TYPES
from sightline.serving.settings import ServiceSettings

Ask = Callable[..., Rendered]
Png = Callable[..., bytes]

LIMITS = PixelLimits(max_bytes=10**8, max_pixels=10**8)
HALF = np.tan(np.deg2rad(30))


def unpacked(reply: Rendered) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def opened(data: bytes) -> NDArray[Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_material_types_are_in_the_order_of_the_outputs() -> None:
    assert tuple(MaterialType) == TYPES


def test_zip_has_maps_of_the_photos_size(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    files = unpacked(ask(png(wall), refine=False))

    names = ("basecolor", "diffuse", "specular", "normal", "roughness", "metallic")
    assert set(files) == {*(f"{name}.png" for name in names), "material.mtlx", "record.json"}
    basecolor, diffuse, specular, normal, roughness, metallic = (opened(files[f"{name}.png"]) for name in names)
    assert basecolor.shape == diffuse.shape == specular.shape == normal.shape == wall.shape
    assert roughness.shape == metallic.shape == wall.shape[:2]
    assert np.abs(basecolor.astype(int) - wall).mean() < 4
    assert (metallic == 64).all()
    linear, dark, bright = (decode_srgb(each / 255) for each in (basecolor, diffuse, specular))
    np.testing.assert_allclose(dark, 0.75 * linear, atol=0.01)
    np.testing.assert_allclose(bright, 0.05 + 0.25 * (linear - 0.05), atol=0.01)
    x = HALF * np.linspace(-1, 1, 420)
    y = HALF * 300 / 420 * np.linspace(1, -1, 300)
    assert np.abs(roughness / 255 - (0.3 + y / 4)[:, None])[8:-8].max() < 0.02
    slope = (normal[..., 0] / 127.5 - 1) / np.maximum(normal[..., 2] / 127.5 - 1, 0.1)
    assert np.abs(slope - x / 2)[:, 8:-8].max() < 0.03
    assert normal[20, :, 1].mean() > 130 > 125 > normal[-20, :, 1].mean()


def test_maps_have_16_bits_on_request(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    files = unpacked(ask(png(wall), depth=16))

    deep = {name: decode(files[f"{name}.png"], LIMITS) for name in ("basecolor", "normal", "roughness")}
    assert {each.bit_depth for each in deep.values()} == {16}
    assert len(np.unique(deep["roughness"].pixels)) > 300


def test_record_has_material_and_rerendering_error(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    record = json.loads(ask(png(wall), accept="application/json").body)

    assert record["material"]["type"] == "wood"
    assert record["material"]["probabilities"]["metal"] == record["metallic"] == 0.25
    assert sum(record["material"]["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert record["mean_roughness"] == pytest.approx(0.3, abs=0.01)
    assert 0 < record["rerender_rmse"] < 0.3
    assert (record["width"], record["height"]) == (420, 300)
    assert record["evidence"]["model"]["name"] == "svbrdf"
    assert record["evidence"]["parameters"]["fov_deg"] == 60


def test_refinement_can_be_switched_off(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    refined, plain = (json.loads(ask(png(wall), accept="application/json", refine=each).body) for each in (True, False))

    assert (refined["refined"], plain["refined"]) == (True, False)
    assert refined["rerender_rmse"] != plain["rerender_rmse"]


def test_openexr_has_linear_layers(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    with OpenEXR.File(
        io.BytesIO(ask(png(wall), accept="image/x-exr", refine=False).body), separate_channels=True
    ) as file:
        channels = {name: channel.pixels.astype(np.float32) for name, channel in file.channels().items()}

    colours = {f"{name}.{channel}" for name in ("basecolor", "diffuse", "specular") for channel in "RGB"}
    assert set(channels) == colours | {*(f"normal.{c}" for c in "XYZ"), "roughness.Y", "metallic.Y"}
    assert np.abs(channels["basecolor.G"] - decode_srgb(wall[..., 1] / 255)).mean() < 0.01
    length = np.sqrt(sum(channels[f"normal.{axis}"] ** 2 for axis in "XYZ"))
    np.testing.assert_allclose(length, 1, atol=2e-3)


@pytest.mark.parametrize(("accept", "frames"), [("image/png", 1), ("image/apng", 5), ("image/gif", 5)])
def test_relit_pictures_have_the_requested_light(
    ask: Ask, png: Png, wall: NDArray[np.uint8], accept: str, frames: int
) -> None:
    reply = ask(png(wall), accept=accept, frames=5, light_azimuth_deg=180, light_elevation_deg=30)

    assert reply.media_type == accept
    with Image.open(io.BytesIO(reply.body)) as image:
        assert getattr(image, "n_frames", 1) == frames
        assert image.size == ((420, 300) if frames == 1 else (400, 286))
    if frames == 1:
        lit = opened(reply.body)
        assert lit[:, :100].mean() > lit[:, -100:].mean()


def test_glb_has_the_maps_as_textures(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    body = ask(png(wall), accept="model/gltf-binary").body

    assert body.startswith(b"glTF")
    assert body.count(b"\x89PNG") == 3


def test_linear_photo_is_not_decoded(ask: Ask) -> None:
    pixels = np.full((64, 64, 3), 20_000, np.uint16)
    data = bytes(imagecodecs.png_encode(pixels))

    given, decoded = (opened(unpacked(ask(data, linear=each))["basecolor.png"]).mean() for each in (True, False))

    assert given == pytest.approx(255 * 0.588, abs=3)  # sRGB of 20000 / 65535
    assert decoded == pytest.approx(255 * 20_000 / 65_535, abs=3)


def test_wider_field_of_view_covers_a_larger_plane(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    narrow, wide = (opened(unpacked(ask(png(wall), fov_deg=fov))["roughness.png"]) for fov in (30, 90))

    assert np.ptp(wide.astype(int)) > 3 * np.ptp(narrow.astype(int))


def test_maps_of_a_rotated_photo_are_upright(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = unpacked(ask(png(wall, exif=exif), refine=False))

    diffuse = opened(files["basecolor.png"])
    assert diffuse.shape == (420, 300, 3)
    assert np.abs(diffuse.astype(int) - np.rot90(wall, -1)).mean() < 4


def test_grey_photo_and_alpha_channel_are_accepted(ask: Ask, png: Png, wall: NDArray[np.uint8]) -> None:
    grey = opened(unpacked(ask(png(wall[..., 0])))["basecolor.png"])
    assert np.ptp(grey.astype(int), axis=2).max() <= 1
    assert opened(unpacked(ask(png(np.dstack([wall, wall[..., :1]]))))["basecolor.png"]).shape == wall.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (900, 2), (33, 47)])
@pytest.mark.parametrize("accept", ["application/zip", "image/png", "image/gif", "image/x-exr", "model/gltf-binary"])
def test_odd_sizes(ask: Ask, png: Png, size: tuple[int, int], accept: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    reply = ask(png(noise), accept=accept, frames=2)

    assert reply.media_type == accept
    if accept == "application/zip":
        assert opened(unpacked(reply)["normal.png"]).shape == (*size, 3)


@pytest.mark.parametrize("tone", [0, 255])
def test_photo_of_one_pixel_value_is_corrected(ask: Ask, png: Png, tone: int) -> None:
    record = json.loads(ask(png(np.full((120, 160, 3), tone, np.uint8)), accept="application/json").body)

    assert np.isfinite(record["rerender_rmse"])


def test_notes_are_in_header_and_record(ask: Ask, wall: NDArray[np.uint8]) -> None:
    frames, file = [Image.fromarray(wall), Image.fromarray(wall[::-1])], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])

    assert ask(file.getvalue()).headers["X-Sightline-Notes"] == "first-frame-only"
    record = json.loads(ask(file.getvalue(), accept="application/json").body)
    assert record["evidence"]["notes"] == ["first-frame-only"]


@pytest.mark.parametrize(
    "options",
    [{"fov_deg": 5}, {"fov_deg": float("nan")}, {"depth": 12}, {"frames": 500}, {"light_elevation_deg": -3}, {"a": 1}],
)
def test_options_out_of_range_are_refused(ask: Ask, png: Png, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ask(png(np.zeros((8, 8, 3), np.uint8)), **options)


def test_samples_are_the_photo_and_its_mirror_image(
    mirror: Weights, settings: ServiceSettings, wall: NDArray[np.uint8]
) -> None:
    data = bytes(imagecodecs.png_encode(wall))
    predictor = SvbrdfPredictor(mirror, settings)

    upright, mirrored = next(predictor.predict(predictor.read(Upload({"image": [data]}, SvbrdfOptions()))))

    np.testing.assert_array_equal(mirrored["photo"], upright["photo"][:, ::-1])
    np.testing.assert_allclose(mirrored["coordinates"], upright["coordinates"], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 100), (256, 256)), ((300, 400), (256, 384)), ((900, 100), (384, 256))]
)
def test_sample_size_is_the_nearest_bucket(
    mirror: Weights, settings: ServiceSettings, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    data = bytes(imagecodecs.png_encode(np.zeros((*size, 3), np.uint8)))
    predictor = SvbrdfPredictor(mirror, settings)
    request = predictor.read(Upload({"image": [data]}, SvbrdfOptions()))

    width, height = request.picture.size_px
    nearest = predictor.signature.nearest_bucket(width=width, height=height)
    assert (nearest["h"], nearest["w"]) == expected
    samples = next(predictor.predict(request))
    assert {sample["photo"].shape for sample in samples} == {(*expected, 3)}
    assert {sample["coordinates"].shape for sample in samples} == {(*expected, 2)}


def test_missing_weights_are_an_error(tmp_path: Any) -> None:
    with pytest.raises(ContractError, match="weights cannot be read"):
        create(ServiceSettings(weights=tmp_path / "none.onnx"))
