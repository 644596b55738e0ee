"""Conversion between colour spaces given by tags and sRGB; HDR is tone-mapped as browsers do for SDR displays."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.bit_depth import quantize
from sightline.imaging.colour_spaces.tags import BT709, BT2020, Chromaticities, ColourTags, TransferFunction
from sightline.imaging.colour_spaces.tone_mapping import REFERENCE_NITS, ToneCurve
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode, encode_srgb, linearization_table
from sightline.imaging.picture import Samples

Floats = NDArray[np.float32]

_BAND_PIXELS = 1 << 20
_HLG_NITS = 1000.0
_HLG_SYSTEM_GAMMA = 1.2
# More entries make profiles larger, fewer make shadows inaccurate.
_CURVE_ENTRIES = 1024
_MIN_8_BIT_EXPONENT, _MAX_8_BIT_EXPONENT = 1.7, 2.9
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def is_usable(tags: ColourTags) -> bool:
    """Returns whether the primaries span a space that converts both ways and can be written as an ICC profile."""
    try:
        matrix = _matrix(tags.chromaticities, BT709)
        return bool(np.isfinite(matrix).all() and np.linalg.cond(matrix) < 1e3 and (tags.is_hdr or icc_profile(tags)))
    except (ValueError, RuntimeError, ZeroDivisionError, np.linalg.LinAlgError):
        return False


def to_srgb(pixels: Samples, tags: ColourTags) -> NDArray[np.uint8]:
    """Converts (h, w, 3) of 8 or 16 bits to (h, w, 3) sRGB."""
    shown = np.empty(pixels.shape, np.uint8)
    for rows in _bands(pixels):
        shown[rows] = _encoded_srgb(_to_display(linearization_table(tags, pixels.dtype)[pixels[rows]], tags))
    return shown


def from_srgb(pixels: NDArray[Any], tags: ColourTags, dtype: np.dtype[Any]) -> Samples:
    """Converts (h, w, 3) sRGB, uint8 or floating point in 0..1, to code values of the tags' space, uint8 or uint16."""
    codes = np.empty(pixels.shape, dtype)
    for rows in _bands(pixels):
        values = pixels[rows] / np.float32(255) if pixels.dtype == np.uint8 else np.clip(pixels[rows], 0, 1)
        codes[rows] = quantize(encode(_from_display(decode_srgb(values), tags), tags), dtype)
    return codes


def suits_8_bits(tags: ColourTags) -> bool:
    """Returns whether 256 code values are about as perceptually uniform as sRGB's; those of linear light are not."""
    return tags.transfer is not TransferFunction.GAMMA or _MIN_8_BIT_EXPONENT <= tags.exponent <= _MAX_8_BIT_EXPONENT


def with_srgb_curve(pixels: Samples, tags: ColourTags) -> tuple[NDArray[np.uint8], ColourTags]:
    """Returns the same colours and primaries, coded by sRGB's transfer function, and their tags."""
    table = np.rint(encode_srgb(linearization_table(tags, pixels.dtype)) * 255).astype(np.uint8)
    return table[pixels], replace(tags, transfer=TransferFunction.SRGB, exponent=1.0, png_chunks=b"")


@lru_cache(maxsize=16)
def icc_profile(tags: ColourTags, *, grey: bool = False) -> bytes:
    """Returns an equivalent ICC profile; tags must not be HDR, which matrix profiles cannot describe."""
    white, primaries = tags.chromaticities[:2], tags.chromaticities[2:]
    curve: dict[str, Any] = {"gamma": tags.exponent}
    if tags.transfer is TransferFunction.SRGB:
        table = decode_srgb(np.linspace(0, 1, _CURVE_ENTRIES)) * 65_535
        curve = {"transferfunction": np.rint(table).astype(np.uint16)}
    if grey:
        profile = bytes(imagecodecs.cms_profile("gray", whitepoint=white, **curve))
    else:
        profile = bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, **curve))
    # A fixed creation time, so that equal requests give equal files.
    return profile[:24] + np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes() + profile[36:]


def _bands(pixels: NDArray[Any]) -> Iterator[slice]:
    """Yields bands of rows that are small enough to be held as floating point."""
    step = max(1, _BAND_PIXELS // max(1, pixels.shape[1]))
    return (slice(top, top + step) for top in range(0, pixels.shape[0], step))


def _to_display(light: Floats, tags: ColourTags) -> Floats:
    """Converts light in the tags' primaries to displayed light in sRGB's, 1 = the display's white."""
    if not tags.is_hdr:
        return _change_primaries(light, tags.chromaticities, BT709)
    if tags.transfer is TransferFunction.HLG:
        light = light * _hlg_gain(_luminance(light, tags.chromaticities), _HLG_SYSTEM_GAMMA - 1)
    curve = ToneCurve.for_peak(tags.peak_nits)
    if not curve.compresses:
        return _change_primaries(light, tags.chromaticities, BT709)
    wide = _change_primaries(light, tags.chromaticities, BT2020)
    brightest = np.maximum(wide.max(axis=-1, keepdims=True), 1e-6)
    gain = curve.apply(brightest) / brightest
    return _change_primaries(wide * gain.astype(np.float32), BT2020, BT709)


def _from_display(shown: Floats, tags: ColourTags) -> Floats:
    """Inverts `_to_display`, for colours within sRGB."""
    if not tags.is_hdr:
        return _change_primaries(shown, BT709, tags.chromaticities)
    wide, curve = np.maximum(_change_primaries(shown, BT709, BT2020), 0), ToneCurve.for_peak(tags.peak_nits)
    brightest = np.maximum(wide.max(axis=-1, keepdims=True), 1e-6)
    gain = curve.invert(brightest) / brightest
    light = np.maximum(_change_primaries(wide * gain.astype(np.float32), BT2020, tags.chromaticities), 0)
    if tags.transfer is TransferFunction.HLG:
        displayed = _luminance(light, tags.chromaticities) * np.float32(REFERENCE_NITS / _HLG_NITS)
        light = light / _hlg_gain(displayed ** np.float32(1 / _HLG_SYSTEM_GAMMA), _HLG_SYSTEM_GAMMA - 1)
    return light


def _hlg_gain(scene_luminance: Floats, exponent: float) -> Floats:
    """Returns the gain from scene light to a display of 1000 cd/m2, relative to reference white (BT.2100)."""
    return np.float32(_HLG_NITS / REFERENCE_NITS) * np.maximum(scene_luminance, 1e-6) ** np.float32(exponent)


def _luminance(light: Floats, chromaticities: Chromaticities) -> Floats:
    return np.asarray(light @ _to_xyz(chromaticities)[1].astype(np.float32), np.float32)[..., None]


def _encoded_srgb(light: Floats) -> NDArray[np.uint8]:
    return _srgb_table()[(np.clip(light, 0, 1) * np.float32(65_535) + np.float32(0.5)).astype(np.uint16)]


@lru_cache(maxsize=1)
def _srgb_table() -> NDArray[np.uint8]:
    return np.rint(encode_srgb(np.linspace(0, 1, 65_536)) * 255).astype(np.uint8)


def _change_primaries(light: Floats, source: Chromaticities, target: Chromaticities) -> Floats:
    if source == target or not light.size:
        return light
    return np.asarray(cv2.transform(light, _matrix(source, target)), np.float32)


@lru_cache(maxsize=16)
def _matrix(source: Chromaticities, target: Chromaticities) -> Floats:
    """Returns the matrix between linear light of two sets of primaries, white to white."""
    return np.asarray(np.linalg.inv(_to_xyz(target)) @ _adaptation(source, target) @ _to_xyz(source), np.float32)


def _to_xyz(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """Returns (3, 3), in which white has a luminance of 1."""
    primaries = np.stack([_xyz(*chromaticities[at : at + 2]) for at in (2, 4, 6)], axis=1)
    return np.asarray(primaries * np.linalg.solve(primaries, _xyz(*chromaticities[:2])))


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1, (1 - x - y) / y])


def _adaptation(source: Chromaticities, target: Chromaticities) -> NDArray[np.float64]:
    """Returns the Bradford chromatic adaptation, as in ICC profiles."""
    ratio = (_BRADFORD @ _xyz(*target[:2])) / (_BRADFORD @ _xyz(*source[:2]))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD)
