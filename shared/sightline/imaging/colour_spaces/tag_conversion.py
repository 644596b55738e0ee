"""Pixels whose colour is described by tags, to sRGB and back; HDR is shown as browsers show it without HDR."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.bit_depth import quantize
from sightline.imaging.colour_spaces.tags import BT709, BT2020, Chromaticities, ColourTags, Transfer
from sightline.imaging.colour_spaces.tone_mapping import REFERENCE_NITS, ToneCurve
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb
from sightline.imaging.picture import Samples

Floats = NDArray[np.float32]

_BAND_PIXELS = 1 << 20
_PQ = (2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128)  # m1, m2, c1, c2, c3 of SMPTE ST 2084
_PQ_NITS, _HLG_NITS = 10_000.0, 1000.0
_HLG = (0.17883277, 0.28466892, 0.55991073)  # a, b, c of ITU-R BT.2100
_HLG_SYSTEM_GAMMA = 1.2
# Those of the tables' ends: a profile of more entries is larger, one of fewer is off in the shadows.
_CURVE_ENTRIES = 1024
_MIN_8_BIT_EXPONENT, _MAX_8_BIT_EXPONENT = 1.7, 2.9
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def is_usable(tags: ColourTags) -> bool:
    """Whether the primaries span a space that can be converted both ways and written as an ICC profile."""
    try:
        matrix = _matrix(tags.chromaticities, BT709)
        return bool(np.isfinite(matrix).all() and np.linalg.cond(matrix) < 1e3 and (tags.is_hdr or icc_profile(tags)))
    except (ValueError, RuntimeError, ZeroDivisionError, np.linalg.LinAlgError):
        return False


def to_srgb(pixels: Samples, tags: ColourTags) -> NDArray[np.uint8]:
    """(h, w, 3) of 8 or 16 bits to (h, w, 3) sRGB."""
    shown = np.empty(pixels.shape, np.uint8)
    for rows in _bands(pixels):
        shown[rows] = _encoded_srgb(_shown(linearization_table(tags, pixels.dtype)[pixels[rows]], tags))
    return shown


def from_srgb(pixels: NDArray[Any], tags: ColourTags, dtype: np.dtype[Any]) -> Samples:
    """(h, w, 3) sRGB, uint8 or floating point in 0..1, to code values of the tags' space, uint8 or uint16."""
    codes = np.empty(pixels.shape, dtype)
    for rows in _bands(pixels):
        values = pixels[rows] / np.float32(255) if pixels.dtype == np.uint8 else np.clip(pixels[rows], 0, 1)
        codes[rows] = quantize(_code(_light_of_shown(decode_srgb(values), tags), tags), dtype)
    return codes


def suits_8_bits(tags: ColourTags) -> bool:
    """Whether 256 code values are spaced about as evenly to the eye as sRGB's; those of linear light are not."""
    return tags.transfer is not Transfer.GAMMA or _MIN_8_BIT_EXPONENT <= tags.exponent <= _MAX_8_BIT_EXPONENT


def with_srgb_curve(pixels: Samples, tags: ColourTags) -> tuple[NDArray[np.uint8], ColourTags]:
    """The same colours in the same primaries, coded by sRGB's curve."""
    table = np.rint(encode_srgb(linearization_table(tags, pixels.dtype)) * 255).astype(np.uint8)
    return table[pixels], replace(tags, transfer=Transfer.SRGB, exponent=1.0, png_chunks=b"")


@lru_cache(maxsize=16)
def icc_profile(tags: ColourTags, *, grey: bool = False) -> bytes:
    """The profile that says what the tags say; not for HDR, whose light no such profile describes."""
    white, primaries = tags.chromaticities[:2], tags.chromaticities[2:]
    curve: dict[str, Any] = {"gamma": tags.exponent}
    if tags.transfer is Transfer.SRGB:
        table = decode_srgb(np.linspace(0, 1, _CURVE_ENTRIES)) * 65_535
        curve = {"transferfunction": np.rint(table).astype(np.uint16)}
    if grey:
        profile = bytes(imagecodecs.cms_profile("gray", whitepoint=white, **curve))
    else:
        profile = bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, **curve))
    # Without the time of its making, so that equal requests give equal files.
    return profile[:24] + np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes() + profile[36:]


def _bands(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows, few enough at a time to be held as floating point."""
    step = max(1, _BAND_PIXELS // max(1, pixels.shape[1]))
    return (slice(top, top + step) for top in range(0, pixels.shape[0], step))


def _shown(light: Floats, tags: ColourTags) -> Floats:
    """Light of the tags' primaries to that of sRGB, 1 = the display's white."""
    if not tags.is_hdr:
        return _transformed(light, tags.chromaticities, BT709)
    if tags.transfer is Transfer.HLG:
        light = light * _hlg_gain(_luminance(light, tags.chromaticities), _HLG_SYSTEM_GAMMA - 1)
    curve = ToneCurve.of(tags.peak_nits)
    if not curve.compresses:
        return _transformed(light, tags.chromaticities, BT709)
    wide = _transformed(light, tags.chromaticities, BT2020)
    brightest = np.maximum(wide.max(axis=-1, keepdims=True), 1e-6)
    gain = curve.shown(brightest) / brightest
    return _transformed(wide * gain.astype(np.float32), BT2020, BT709)


def _light_of_shown(shown: Floats, tags: ColourTags) -> Floats:
    """The inverse of `_shown`, for what sRGB can show."""
    if not tags.is_hdr:
        return _transformed(shown, BT709, tags.chromaticities)
    wide, curve = np.maximum(_transformed(shown, BT709, BT2020), 0), ToneCurve.of(tags.peak_nits)
    brightest = np.maximum(wide.max(axis=-1, keepdims=True), 1e-6)
    gain = curve.light(brightest) / brightest
    light = np.maximum(_transformed(wide * gain.astype(np.float32), BT2020, tags.chromaticities), 0)
    if tags.transfer is Transfer.HLG:
        displayed = _luminance(light, tags.chromaticities) * np.float32(REFERENCE_NITS / _HLG_NITS)
        light = light / _hlg_gain(displayed ** np.float32(1 / _HLG_SYSTEM_GAMMA), _HLG_SYSTEM_GAMMA - 1)
    return light


def _hlg_gain(scene_luminance: Floats, exponent: float) -> Floats:
    """From the light of a scene to that of a display of 1000 cd/m2, relative to reference white (BT.2100)."""
    return np.float32(_HLG_NITS / REFERENCE_NITS) * np.maximum(scene_luminance, 1e-6) ** np.float32(exponent)


def _luminance(light: Floats, chromaticities: Chromaticities) -> Floats:
    return np.asarray(light @ _to_xyz(chromaticities)[1].astype(np.float32), np.float32)[..., None]


@lru_cache(maxsize=8)
def linearization_table(tags: ColourTags, dtype: np.dtype[Any]) -> Floats:
    """The light of every code value: 1 = white, of HDR reference white, and of HLG the scene's brightest."""
    code = np.linspace(0, 1, int(np.iinfo(dtype).max) + 1)
    if tags.transfer is Transfer.SRGB:
        return decode_srgb(code)
    if tags.transfer is Transfer.GAMMA:
        return np.asarray(code**tags.exponent, np.float32)
    if tags.transfer is Transfer.HLG:
        a, b, c = _HLG
        return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
    m1, m2, c1, c2, c3 = _PQ
    root = code ** (1 / m2)
    nits = _PQ_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.asarray(nits / REFERENCE_NITS, np.float32)


def _code(light: Floats, tags: ColourTags) -> Floats:
    """The inverse of the decoding table; 0..1."""
    if tags.transfer is Transfer.SRGB:
        return encode_srgb(np.clip(light, 0, 1))
    if tags.transfer is Transfer.GAMMA:
        return np.clip(light, 0, 1) ** np.float32(1 / tags.exponent)
    if tags.transfer is Transfer.HLG:
        a, b, c = _HLG
        light = np.clip(light, 0, 1)
        high = a * np.log(np.maximum(12 * light - b, 1e-6)) + c
        return np.where(light <= 1 / 12, np.sqrt(3 * light), high).astype(np.float32)
    m1, m2, c1, c2, c3 = _PQ
    root = np.clip(light.astype(np.float64) * REFERENCE_NITS / _PQ_NITS, 0, 1) ** m1
    return np.asarray(((c1 + c2 * root) / (1 + c3 * root)) ** m2, np.float32)


def _encoded_srgb(light: Floats) -> NDArray[np.uint8]:
    return _srgb_table()[(np.clip(light, 0, 1) * np.float32(65_535) + np.float32(0.5)).astype(np.uint16)]


@lru_cache(maxsize=1)
def _srgb_table() -> NDArray[np.uint8]:
    return np.rint(encode_srgb(np.linspace(0, 1, 65_536)) * 255).astype(np.uint8)


def _transformed(light: Floats, source: Chromaticities, target: Chromaticities) -> Floats:
    if source == target or not light.size:
        return light
    return np.asarray(cv2.transform(light, _matrix(source, target)), np.float32)


@lru_cache(maxsize=16)
def _matrix(source: Chromaticities, target: Chromaticities) -> Floats:
    """From linear light of one set of primaries to another's, white to white."""
    return np.asarray(np.linalg.inv(_to_xyz(target)) @ _adaptation(source, target) @ _to_xyz(source), np.float32)


def _to_xyz(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """(3, 3), white has a luminance of 1."""
    primaries = np.stack([_xyz(*chromaticities[at : at + 2]) for at in (2, 4, 6)], axis=1)
    return np.asarray(primaries * np.linalg.solve(primaries, _xyz(*chromaticities[:2])))


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1, (1 - x - y) / y])


def _adaptation(source: Chromaticities, target: Chromaticities) -> NDArray[np.float64]:
    """Bradford's, as in ICC profiles."""
    ratio = (_BRADFORD @ _xyz(*target[:2])) / (_BRADFORD @ _xyz(*source[:2]))
    return np.asarray(np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD)
