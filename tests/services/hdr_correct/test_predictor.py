"""The whole way with a network whose answer is known: corrected = photo ** 0.5, scene = 4 * photo ** 2."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import cv2
import imagecodecs
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from services.hdr_correct.predictor import HdrPredictor, create
from services.hdr_correct.schemas import HdrOptions
from sightline.api.problems import Code, Problem
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.inference.contract import ContractError
from sightline.inference.predictor import Rendered, Upload
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings

Ask = Callable[..., Rendered]
Png = Callable[..., bytes]
Floats = NDArray[np.float32]

LIMITS = PixelLimits(max_bytes=10**8, max_pixels=10**8)


def opened(reply: Rendered) -> NDArray[Any]:
    with Image.open(io.BytesIO(reply.body)) as image:
        return np.asarray(image)


def noise(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def as_8_bit(values: Floats) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def light_of(data: bytes) -> NDArray[np.float32]:
    pixels: NDArray[np.float16] = OpenEXR.File(io.BytesIO(data)).channels()["RGB"].pixels
    return pixels.astype(np.float32)


def test_every_pixel_is_corrected_like_the_preview(ask: Ask, png: Png, landscape: Floats) -> None:
    error = opened(ask(png(as_8_bit(landscape)))) / 255 - np.sqrt(landscape)
    assert np.abs(error).mean() < 0.0045
    assert np.quantile(np.abs(error), 0.999) < 0.03


def test_texture_finer_than_the_preview_is_kept(ask: Ask, png: Png) -> None:
    """At four times the network's size, one-pixel stripes, and the correction has their contrast."""
    stripes = np.where(np.arange(1024) % 2, 0.22, 0.18)[None, :, None] * np.ones((768, 1, 3))
    ramp = np.linspace(0.8, 1.2, 768)[:, None, None]
    photo = (stripes * ramp).astype(np.float32)
    back = opened(ask(png(as_8_bit(photo)))).astype(np.float32) / 255
    contrast = np.abs(np.diff(back, axis=1)).mean() / np.abs(np.diff(np.sqrt(photo), axis=1)).mean()
    assert 0.8 < contrast < 2.2  # by slope at least, by gain at most
    assert np.abs(back.mean(axis=(1, 2)) - np.sqrt(photo).mean(axis=(1, 2))).max() < 0.01


def test_scene_is_the_photos_light_at_the_networks_exposure(ask: Ask, png: Png, landscape: Floats) -> None:
    sent = as_8_bit(landscape)
    ev_error = json.loads(ask(png(sent), accept="application/json").body)["exposure"]["before"]["ev_error"]
    truth = decode_srgb(sent / 255) * 2**-ev_error
    assert np.median(truth / (4 * (sent / 255) ** 2)) == pytest.approx(1, rel=0.1)
    exr = light_of(ask(png(sent), accept="image/x-exr").body)
    hdr = cv2.imdecode(np.frombuffer(ask(png(sent), accept="image/vnd.radiance").body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert hdr is not None
    assert np.median(np.abs(exr / truth - 1)) < 0.01
    assert np.quantile(np.abs(exr - truth), 0.999) < 0.03
    assert np.abs(hdr[..., ::-1] / exr - 1).max() < 0.03


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 300), st.integers(3, 300), st.integers(0, 2**32 - 1), st.sampled_from(["L", "LA", "RGB", "RGBA"]))
def test_strength_zero_changes_nothing(ask: Ask, height: int, width: int, seed: int, mode: str) -> None:
    image = Image.fromarray(noise(seed, height, width, 4)).convert(mode)
    file = io.BytesIO()
    image.save(file, "PNG")
    back = opened(ask(file.getvalue(), strength=0))
    assert back.dtype == np.uint8
    assert np.array_equal(back, np.asarray(image))


def test_strength_zero_changes_no_16_bit_sample(ask: Ask) -> None:
    pixels = np.random.default_rng(0).integers(0, 65_536, (70, 90, 3), np.uint16)
    back = decode(ask(imagecodecs.png_encode(pixels), strength=0).body, LIMITS)
    assert back.bit_depth == 16
    assert np.array_equal(back.pixels, pixels)


def test_half_strength_applies_half_of_the_correction(ask: Ask, png: Png, landscape: Floats) -> None:
    sent = as_8_bit(landscape)
    whole, half = (opened(ask(png(sent), strength=strength)).astype(int) for strength in (1, 0.5))
    assert np.abs(2 * half - whole - sent).max() <= 2


def test_16_bit_photo_comes_back_with_16_bits(ask: Ask, landscape: Floats) -> None:
    pixels = np.rint(landscape * 65_535).astype(np.uint16)
    back = decode(ask(imagecodecs.png_encode(pixels)).body, LIMITS)
    assert back.bit_depth == 16
    assert len(np.unique(back.pixels)) > 5000
    assert np.abs(back.pixels / 65_535 - np.sqrt(landscape)).mean() < 0.004


@pytest.mark.parametrize(("sent", "asked", "bits"), [(8, None, 8), (8, 16, 16), (16, 8, 8), (16, None, 16)])
def test_bit_depth_is_the_photos_or_the_requested_one(
    ask: Ask, landscape: Floats, sent: int, asked: int | None, bits: int
) -> None:
    top, dtype = (255, np.uint8) if sent == 8 else (65_535, np.uint16)
    rgba = np.dstack([landscape, np.full(landscape.shape[:2], 0.4, np.float32)])
    back = decode(ask(imagecodecs.png_encode(np.rint(rgba * top).astype(dtype)), depth=asked).body, LIMITS)
    assert back.bit_depth == bits
    assert back.alpha is not None
    assert np.abs(back.alpha / np.iinfo(back.alpha.dtype).max - 0.4).max() < 0.002


def test_colour_space_of_the_photo_is_kept(ask: Ask, landscape: Floats) -> None:
    """What the network does in sRGB comes back in the space of the profile, which is embedded again."""
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    own = np.asarray(
        imagecodecs.cms_transform(
            as_8_bit(landscape), imagecodecs.cms_profile("srgb"), profile, colorspace="rgb", outcolorspace="rgb"
        )
    )
    file = io.BytesIO()
    Image.fromarray(own).save(file, "PNG", icc_profile=profile)
    reply = ask(file.getvalue())
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.info["icc_profile"] == profile
    in_srgb = imagecodecs.cms_transform(
        opened(reply), profile, imagecodecs.cms_profile("srgb"), colorspace="rgb", outcolorspace="rgb"
    )
    assert np.abs(np.asarray(in_srgb) / 255 - np.sqrt(landscape)).mean() < 0.006


def test_grey_stays_grey(ask: Ask, png: Png, landscape: Floats) -> None:
    grey = as_8_bit(landscape)[..., 1]
    assert opened(ask(png(grey))).shape == grey.shape
    light = light_of(ask(png(grey), accept="image/x-exr").body)
    assert np.ptp(light, axis=2).max() < 1e-3


def test_rotated_photo_keeps_its_orientation_and_its_scene_is_upright(ask: Ask, png: Png, landscape: Floats) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = as_8_bit(landscape)
    reply = ask(png(stored, exif=exif))
    with Image.open(io.BytesIO(reply.body)) as image:
        assert image.getexif()[0x0112] == 6
    assert np.abs(opened(reply) / 255 - np.sqrt(landscape)).mean() < 0.005
    light = light_of(ask(png(stored, exif=exif), accept="image/x-exr").body)
    ratios = np.rot90(light) / decode_srgb(stored / 255)
    assert np.median(np.abs(ratios / np.median(ratios) - 1)) < 0.02


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (900, 2), (33, 47)])
@pytest.mark.parametrize("accept", ["image/png", "image/jpeg", "image/webp", "image/vnd.radiance", "image/x-exr"])
def test_odd_sizes(ask: Ask, png: Png, size: tuple[int, int], accept: str) -> None:
    reply = ask(png(noise(3, *size, 3)), accept=accept)
    assert reply.media_type == accept
    if accept == "image/x-exr":
        assert light_of(reply.body).shape == (*size, 3)
    elif accept == "image/vnd.radiance":
        assert f"-Y {size[0]} +X {size[1]}\n".encode() in reply.body
    else:
        assert opened(reply).shape == (*size, 3)


@pytest.mark.parametrize("tone", [0, 255])
def test_photo_of_one_pixel_value_is_corrected(ask: Ask, png: Png, tone: int) -> None:
    flat = png(np.full((120, 160, 3), tone, np.uint8))
    assert np.ptp(opened(ask(flat))) == 0
    reading = json.loads(ask(flat, accept="application/json").body)["exposure"]["before"]
    assert (reading["crushed_share"], reading["clipped_share"]) == ((1, 0) if tone == 0 else (0, 1))
    assert reading["ev_error"] is None


def test_record_has_exposure_before_and_after(ask: Ask, png: Png) -> None:
    values = np.random.default_rng(1).uniform(0.1, 0.4, (150, 200, 3)) ** 2
    record = json.loads(ask(png(as_8_bit(values.astype(np.float32))), accept="application/json").body)
    before, after = record["exposure"]["before"], record["exposure"]["after"]
    assert (record["width"], record["height"], record["applied_share"]) == (200, 150, 1)
    assert before["mean_luminance"] < after["mean_luminance"]
    assert before["ev_error"] < after["ev_error"]
    assert record["scene_stops"] > 1
    assert record["evidence"]["model"]["name"] == "hdr_correct"
    assert record["evidence"]["parameters"] == {"strength": 1, "depth": None, "output": "photo"}


def test_zip_has_every_representation(ask: Ask, png: Png, landscape: Floats) -> None:
    photo = png(as_8_bit(landscape))
    with zipfile.ZipFile(io.BytesIO(ask(photo, accept="application/zip").body)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    # Content credentials are left out here, so that equal results have equal bytes.
    assert files["corrected.png"] == ask(photo).body
    assert files["map.png"] == ask(photo, output="map").body
    assert files["scene.exr"] == ask(photo, accept="image/x-exr").body
    assert files["scene.hdr"] == ask(photo, accept="image/vnd.radiance").body
    assert set(json.loads(files["record.json"])) >= {"exposure", "evidence"}


def test_map_shows_clipped_pixels_that_the_correction_changed(ask: Ask, png: Png) -> None:
    values = np.full((90, 120, 3), 20, np.uint8)
    values[10:30, 20:60] = 255
    values[60:80, 20:60] = 0
    photo = png(values)
    corrected, reply = opened(ask(photo)), ask(photo, output="map")
    found = opened(reply)
    assert found.shape == (90, 120)
    lost = (values[..., 0] == 255) | (values[..., 0] == 0)
    np.testing.assert_array_equal(found == 255, lost & (corrected != values).any(axis=2))
    assert np.unique(found).tolist() == [0, 255]
    share = float((found == 255).mean())
    assert float(reply.headers["X-Sightline-Synthesised-Share"]) == pytest.approx(share, abs=1e-6)
    assert json.loads(ask(photo, accept="application/json").body)["synthesised_share"] == pytest.approx(share, abs=1e-6)
    assert not opened(ask(photo, output="map", strength=0)).any()


def test_map_is_not_available_as_jpeg(ask: Ask, png: Png) -> None:
    with pytest.raises(Problem, match="not available as JPEG"):
        ask(png(np.zeros((90, 120, 3), np.uint8)), accept="image/jpeg", output="map")


def test_notes_are_in_header_and_record(ask: Ask, landscape: Floats) -> None:
    frames, file = [Image.fromarray(as_8_bit(landscape)), Image.fromarray(noise(0, 150, 210, 3))], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert ask(file.getvalue()).headers["X-Sightline-Notes"] == "first-frame-only"
    record = json.loads(ask(file.getvalue(), accept="application/json").body)
    assert record["evidence"]["notes"] == ["first-frame-only"]


def test_sides_beyond_a_formats_limit_are_a_problem(ask: Ask, png: Png) -> None:
    with pytest.raises(Problem) as caught:
        ask(png(np.zeros((1, 16_400, 3), np.uint8)), accept="image/webp")
    assert caught.value.code is Code.NOT_ACCEPTABLE


@pytest.mark.parametrize("options", [{"strength": 1.1}, {"strength": float("nan")}, {"depth": 12}, {"gamma": 2}])
def test_options_out_of_range_are_refused(ask: Ask, png: Png, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ask(png(noise(0, 8, 8, 3)), **options)


def test_weights_of_a_fixed_size_get_samples_of_it(curves: Weights, settings: ServiceSettings) -> None:
    contract = curves.contract.model_copy(update={"fixed_size": (160, 320)})
    predictor = HdrPredictor(Weights(curves.path, curves.sha256, contract, False), settings)
    request = predictor.read(_upload(np.zeros((50, 60, 3), np.uint8)))
    (sample,) = next(predictor.predict(request))
    assert sample["photo"].shape == (160, 320, 3)


def test_weights_of_sizes_that_are_no_whole_cells_are_refused(curves: Weights, settings: ServiceSettings) -> None:
    contract = curves.contract.model_copy(update={"fixed_size": (150, 200)})
    with pytest.raises(ContractError, match="150"):
        HdrPredictor(Weights(curves.path, curves.sha256, contract, False), settings)


def test_missing_weights_are_an_error(tmp_path: Any) -> None:
    with pytest.raises(ContractError, match="weights cannot be read"):
        create(ServiceSettings(weights=tmp_path / "none.onnx"))


def _upload(pixels: NDArray[np.uint8]) -> Upload[HdrOptions]:
    return Upload({"image": [bytes(imagecodecs.png_encode(pixels))]}, HdrOptions())


def test_white_areas_are_corrected_to_one_grey(curves: Weights, settings: ServiceSettings) -> None:
    falloff = np.clip(np.linspace(380, 40, 64), 0, 255).astype(np.uint8)
    photo = np.ascontiguousarray(np.broadcast_to(falloff[:, None, None], (64, 64, 3)))
    predictor = HdrPredictor(curves, settings)
    plan = predictor.predict(predictor.read(_upload(photo)))
    next(plan)
    tinted = np.full((64, 64, 3), (0.8, 0.6, 0.7), np.float32)
    tinted[:32] *= np.linspace(0.8, 1.2, 64, dtype=np.float32)[:, None]
    with pytest.raises(StopIteration) as stop:
        plan.send([{"compressed": tinted, "corrected": tinted}])
    pixels = stop.value.value.pixels
    assert np.ptp(pixels[:20]) <= 1
    assert pixels[:20].mean() == pytest.approx(255 * 0.75, abs=2)
    assert np.ptp(pixels[40:], axis=2).min() > 20
