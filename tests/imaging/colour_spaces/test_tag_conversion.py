"""Photos whose colour is described without an ICC profile look the same to a browser, to the model, and as results."""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.conversion import from_srgb, to_srgb
from sightline.imaging.colour_spaces.tags import ColourTags, png_chunk
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.encoder import encode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import HDR_TONE_MAPPED
from tests.chromium import needs_chromium, shown_by_chromium

LIMITS = PixelLimits(max_bytes=1 << 24, max_pixels=1 << 24)
SRGB_SPACE = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
P3_SPACE = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
D50_SPACE = (0.3457, 0.3585, *SRGB_SPACE[2:])
OUTPUTS = ("png", "jpeg", "webp")

Deep = NDArray[np.uint16]


def _gamma(value: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(value * 1e5)))


def _primaries(space: tuple[float, ...]) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(value * 1e5) for value in space)))


def _codes(primaries: int, transfer: int, *, full_range: int = 1) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, 0, full_range]))


def _levels(nits: int) -> bytes:
    return png_chunk(b"cLLI", struct.pack(">II", nits * 10_000, 0))


def _mastering(nits: int) -> bytes:
    return png_chunk(
        b"mDCV", struct.pack(">8HII", *(13250, 34500, 7500, 3000, 34000, 16000, 15635, 16450), nits * 10_000, 1)
    )


_INTENT = png_chunk(b"sRGB", b"\0")
_LINEAR_P3 = png_chunk(
    b"iCCP",
    b"profile\0\0"
    + zlib.compress(bytes(imagecodecs.cms_profile("rgb", whitepoint=P3_SPACE[:2], primaries=P3_SPACE[2:], gamma=1.0))),
)

PNG_TAGS: Mapping[str, bytes] = {
    "none": b"",
    "gamma-1": _gamma(1),
    "gamma-1.8": _gamma(1 / 1.8),
    "gamma-2.2": _gamma(0.45455),
    "gamma-3": _gamma(1 / 3),
    "gamma-0": _gamma(0),
    "gamma-and-primaries": _gamma(0.45455) + _primaries(P3_SPACE),
    "gamma-and-same-primaries": _gamma(0.45455) + _primaries(SRGB_SPACE),
    "gamma-and-d50": _gamma(1 / 1.8) + _primaries(D50_SPACE),
    "primaries-alone": _primaries(P3_SPACE),
    "broken-primaries": _gamma(0.8) + png_chunk(b"cHRM", bytes(32)),
    "intent-before-gamma": _gamma(1) + _INTENT,
    "codes-p3": _codes(12, 13),
    "codes-p3-before-gamma": _codes(12, 13) + _gamma(1),
    "codes-srgb-before-profile": _codes(1, 13) + _LINEAR_P3,
    "codes-bt709": _codes(1, 1),
    "codes-bt2020": _codes(9, 14),
    "codes-bt601": _codes(6, 6),
    "codes-pal": _codes(5, 5),
    "codes-dci": _codes(11, 13),
    "codes-linear": _codes(9, 8),
    "codes-unspecified-before-gamma": _codes(2, 2) + _gamma(1),
    "codes-reserved": _codes(12, 99),
    "codes-narrow": _codes(1, 13, full_range=0),
    "pq": _codes(9, 16),
    "pq-p3": _codes(12, 16),
    "pq-bt709": _codes(1, 16),
    "pq-400-nits": _codes(9, 16) + _levels(400),
    "pq-4000-nits": _codes(9, 16) + _mastering(4000),
    "pq-both": _codes(9, 16) + _mastering(4000) + _levels(600),
    "pq-dim": _codes(9, 16) + _levels(100),
    "hlg": _codes(9, 18),
    "hlg-p3": _codes(12, 18),
}
OVERRIDDEN: Mapping[str, bytes] = {
    "gamma-0": b"",
    "primaries-alone": b"",
    "broken-primaries": b"",
    "codes-reserved": b"",
    "codes-p3-before-gamma": PNG_TAGS["codes-p3"],
    "codes-srgb-before-profile": _codes(1, 13),
    "codes-unspecified-before-gamma": PNG_TAGS["gamma-1"],
}
"""The tags that remain where others override some of them, or where some are invalid."""
AVIF_CODES: Mapping[str, tuple[int, int, int]] = {
    "srgb": (1, 13, 6),
    "bt709": (1, 1, 1),
    "unspecified": (2, 2, 2),
    "gamma-2.2": (1, 4, 1),
    "linear": (1, 8, 1),
    "p3": (12, 13, 6),
    "bt2020": (9, 14, 9),
    "pq": (9, 16, 9),
    "pq-p3": (12, 16, 0),
    "hlg": (9, 18, 9),
}


@pytest.fixture(scope="module")
def deep() -> Deep:
    """(48, 96, 3): a smooth colourful photo on the left, every grey on the right."""
    noise = np.random.default_rng(7).random((48, 48, 3))
    smooth = np.asarray(cv2.GaussianBlur(noise, (0, 0), 5))
    colours = 0.05 + 0.75 * (smooth - smooth.min()) / np.ptp(smooth)
    greys = np.linspace(0, 1, 48)[None, :, None].repeat(48, 0).repeat(3, 2)
    return np.asarray(np.rint(np.hstack([colours, greys]) * 65_535), np.uint16)


def _png(samples: NDArray[Any], tags: bytes) -> bytes:
    plain = bytes(imagecodecs.png_encode(samples))
    return plain[:33] + tags + plain[33:]


def _files(deep: Deep) -> Iterator[tuple[str, bytes]]:
    shallow = np.rint(deep / 257).astype(np.uint8)
    for name, tags in PNG_TAGS.items():
        yield f"png-{name}", _png(shallow, tags)
        yield f"png-{name}-16", _png(deep, tags)
    for name in ("none", "gamma-1", "pq"):
        yield f"png-{name}-grey", _png(np.ascontiguousarray(shallow[..., 1]), PNG_TAGS[name])
        yield f"png-{name}-alpha", _png(np.dstack([shallow, 255 - shallow[..., 0] // 2]), PNG_TAGS[name])
    for name, (primaries, transfer, matrix) in AVIF_CODES.items():
        options: dict[str, Any] = {"primaries": primaries, "transfer": transfer, "matrix": matrix}
        yield f"avif-{name}", bytes(imagecodecs.avif_encode(shallow, level=95, pixelformat="444", speed=9, **options))
        for bits in (10, 12):
            samples, more = deep >> np.uint16(16 - bits), options | {"bitspersample": bits, "pixelformat": "444"}
            yield f"avif-{name}-{bits}", bytes(imagecodecs.avif_encode(samples, level=95, speed=9, **more))


@pytest.fixture(scope="module")
def files(deep: Deep) -> Mapping[str, bytes]:
    return dict(_files(deep))


@pytest.fixture(scope="module")
def shown(files: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, NDArray[np.uint8]]:
    """Each file, and its conversion to each output format, as Chromium displays them."""
    pages: dict[str, tuple[str, bytes]] = {}
    for name, data in files.items():
        pages[name] = f"image/{name.partition('-')[0]}", data
        picture = decode(data, LIMITS)
        for kind in OUTPUTS:
            file = encode(picture.pixels, f"image/{kind}", picture, alpha=picture.alpha, quality=98)
            pages[f"{name}-as-{kind}"] = f"image/{kind}", file
    return shown_by_chromium(pages, tmp_path_factory.mktemp("chromium"))


@needs_chromium
def test_to_srgb_equals_the_colours_in_a_browser(
    files: Mapping[str, bytes], shown: Mapping[str, NDArray[np.uint8]]
) -> None:
    for name, data in files.items():
        difference = np.abs(to_srgb(decode(data, LIMITS)).astype(int) - shown[name][..., :3])
        if name.endswith("alpha"):  # a canvas keeps colours multiplied by alpha
            continue
        assert difference.mean() < 1, (name, difference.mean())
        assert np.quantile(difference, 0.99) <= 4, (name, np.quantile(difference, 0.99))


@needs_chromium
@pytest.mark.parametrize("kind", OUTPUTS)
def test_encoded_colours_look_like_the_photo_in_a_browser(
    files: Mapping[str, bytes], shown: Mapping[str, NDArray[np.uint8]], kind: str
) -> None:
    for name in files:
        if kind == "jpeg" and name.endswith("alpha"):
            continue
        difference = np.abs(shown[f"{name}-as-{kind}"].astype(int) - shown[name])
        mean = np.abs(shown[f"{name}-as-{kind}"].mean(axis=(0, 1)) - shown[name].mean(axis=(0, 1))).max()
        assert mean < 1.5, (name, mean)
        assert difference.mean() < 2, (name, difference.mean())


@needs_chromium
@pytest.mark.parametrize("gamma", [1, 0.8, 1 / 3, 1 / 5])
def test_shadows_of_other_gammas_keep_their_steps(tmp_path: Path, gamma: float) -> None:
    """Linear light in 8 bits has too few codes for dark tones: next to black, one step would be 13 sRGB values."""
    ramp = np.rint(np.linspace(0, 0.25, 128) * 255)[None, :, None].repeat(16, 0).repeat(3, 2)
    light = ((ramp / 255 + 0.055) / 1.055) ** 2.4
    data = _png(np.rint(light**gamma * 65_535).astype(np.uint16), _gamma(gamma))
    picture = decode(data, LIMITS)
    results = {kind: (f"image/{kind}", encode(picture.pixels, f"image/{kind}", picture)) for kind in ("jpeg", "webp")}
    for kind, image in shown_by_chromium(results, tmp_path).items():
        assert np.abs(image[..., :3].astype(int) - ramp).max() <= 6, kind


def test_png_keeps_samples_and_tags(files: Mapping[str, bytes]) -> None:
    for name, tags in PNG_TAGS.items():
        for depth in ("", "-16"):
            data = files[f"png-{name}{depth}"]
            picture = decode(data, LIMITS)
            again = encode(picture.pixels, "image/png", picture)
            assert np.array_equal(imagecodecs.png_decode(again), imagecodecs.png_decode(data)), name
            kept = OVERRIDDEN.get(name, tags)
            assert sorted(again[33 : 33 + len(kept)]) == sorted(kept), name  # in any order


@pytest.mark.parametrize("name", ["gamma-0", "broken-primaries", "codes-reserved"])
def test_ignored_tags_are_noted(files: Mapping[str, bytes], name: str) -> None:
    assert decode(files[f"png-{name}"], LIMITS).notes == ("colour-tags-ignored",)


def test_tone_mapping_of_hdr_is_noted(files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        hdr = "-pq" in name or "-hlg" in name
        assert (HDR_TONE_MAPPED in decode(data, LIMITS).notes) == hdr, name


def test_deep_avif_keeps_its_bit_depth(files: Mapping[str, bytes], deep: Deep) -> None:
    for name in AVIF_CODES:
        picture = decode(files[f"avif-{name}-10"], LIMITS)
        assert picture.bit_depth == 16
        assert picture.pixels.max() == 65_535
        assert np.abs(picture.pixels.astype(int) - deep).mean() < 700, name


@pytest.mark.parametrize("name", AVIF_CODES)
def test_heic_colour_tags_equal_those_of_avif(deep: Deep, name: str) -> None:
    """Chromium does not show HEIC, so its colours are compared with those of an AVIF with the same codes."""
    primaries, transfer, matrix = AVIF_CODES[name]
    # The identity matrix (0) is tested with AVIF alone.
    options = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": matrix or 9}
    for samples, mode in ((deep, "RGB;16"), (np.rint(deep / 257).astype(np.uint8), "RGB")):
        height, width = samples.shape[:2]
        file = io.BytesIO()
        heif = pillow_heif.from_bytes(mode, (width, height), np.ascontiguousarray(samples).tobytes())
        heif.save(file, quality=98, chroma=444, full_range_flag=1, **options)
        heic = decode(file.getvalue(), LIMITS)
        expected = dataclasses.replace(heic, pixels=samples, colour_tags=_avif_tags(deep, name))
        assert heic.bit_depth == 8 * samples.itemsize
        assert np.abs(to_srgb(heic).astype(int) - to_srgb(expected)).mean() < 4


def _avif_tags(deep: Deep, name: str) -> ColourTags | None:
    primaries, transfer, matrix = AVIF_CODES[name]
    shallow = np.rint(deep / 257).astype(np.uint8)
    data = imagecodecs.avif_encode(shallow, speed=9, primaries=primaries, transfer=transfer, matrix=matrix)
    return decode(bytes(data), LIMITS).colour_tags


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_from_srgb_inverts_to_srgb(files: Mapping[str, bytes], dtype: type[np.unsignedinteger[Any]]) -> None:
    """Filled pixels are displayed with the intended colours, within the precision of 8 bits of a steep curve."""
    wanted = np.linspace(4, 250, 3 * 400).reshape(4, 100, 3).astype(np.uint8)
    for name in PNG_TAGS:
        picture = decode(files[f"png-{name}" + ("-16" if dtype == np.uint16 else "")], LIMITS)
        filled = from_srgb(wanted, picture)
        assert filled.dtype == dtype
        again = to_srgb(dataclasses.replace(picture, pixels=filled))
        assert np.abs(again.astype(int) - wanted).max() <= (1 if dtype == np.uint16 else 26), name
