"""Colour spaces without an ICC profile: coding-independent code points (ITU-T H.273), PNG's `gAMA` and `cHRM`."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue."""

BT709: Chromaticities = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
BT2020: Chromaticities = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)

PEAK_NITS = 1000.0
"""Default peak of HDR pictures, in cd/m2."""

_UNSPECIFIED = 2
_SRGB_GAMMA, _GAMMA_TOLERANCE = 0.45455, 0.05  # libpng and browsers treat such gammas as sRGB
_MIN_EXPONENT, _MAX_EXPONENT = 0.1, 10.0


class TransferFunction(StrEnum):
    """TransferFunction functions from light to code values."""

    SRGB = "srgb"
    GAMMA = "gamma"
    PQ = "pq"
    HLG = "hlg"


@dataclass(frozen=True, slots=True)
class ColourTags:
    """A colour space: primaries and white point, and the transfer function of full-range code values.

    exponent: of light = code ** exponent, for GAMMA; peak_nits: brightest light of an HDR picture in cd/m2;
    png_chunks: the equivalent chunks of a PNG file.
    """

    chromaticities: Chromaticities
    transfer: TransferFunction
    exponent: float = 1.0
    peak_nits: float = PEAK_NITS
    png_chunks: bytes = b""

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (TransferFunction.PQ, TransferFunction.HLG)

    @property
    def is_srgb(self) -> bool:
        return self.transfer is TransferFunction.SRGB and self.chromaticities == BT709


_PRIMARIES: Mapping[int, Chromaticities] = {
    1: BT709,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.3290, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (0.3127, 0.3290, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: BT2020,
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (0.3127, 0.3290, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
# BT.709 and similar codes are displayed by BT.1886's curve, as in browsers' PNG decoders.
_TRANSFERS: Mapping[int, tuple[TransferFunction, float]] = {
    **dict.fromkeys((1, 6, 11, 14, 15), (TransferFunction.GAMMA, 2.4)),
    4: (TransferFunction.GAMMA, 2.2),
    5: (TransferFunction.GAMMA, 2.8),
    8: (TransferFunction.GAMMA, 1.0),
    13: (TransferFunction.SRGB, 1.0),
    16: (TransferFunction.PQ, 1.0),
    18: (TransferFunction.HLG, 1.0),
}
# In HEIF, browsers display these codes by sRGB's curve, as cameras and encoders write them for sRGB pictures.
_SRGB_IN_HEIF = frozenset({1, 6, 11, 14, 15})


def tags_from_cicp(primaries: int, transfer: int, *, peak_nits: float | None, png_chunks: bytes) -> ColourTags | None:
    """Returns None for code points that are unspecified, reserved or not supported."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    curve, exponent = _TRANSFERS[transfer]
    return ColourTags(_PRIMARIES[primaries], curve, exponent, peak_nits or PEAK_NITS, png_chunks)


def tags_from_nclx(primaries: int, transfer: int, *, peak_nits: float | None) -> ColourTags | None:
    """Returns the tags for HEIF's `nclx` colour; None if it is sRGB, unspecified or unknown."""
    primaries = 1 if primaries == _UNSPECIFIED else primaries
    transfer = 13 if transfer in _SRGB_IN_HEIF or transfer == _UNSPECIFIED else transfer
    chunks = png_chunk(b"cICP", bytes([primaries & 0xFF, transfer & 0xFF, 0, 1]))
    if peak_nits:
        chunks += png_chunk(b"cLLI", struct.pack(">II", round(peak_nits * 10_000), 0))
    tags = tags_from_cicp(primaries, transfer, peak_nits=peak_nits, png_chunks=chunks)
    return None if tags is None or tags.is_srgb else tags


def tags_from_gamma(gamma: float, chromaticities: Chromaticities | None, *, png_chunks: bytes) -> ColourTags | None:
    """Returns the tags for PNG's `gAMA`, of code = light ** gamma, and `cHRM`; None for implausible values."""
    if chromaticities is None and abs(gamma / _SRGB_GAMMA - 1) <= _GAMMA_TOLERANCE:
        return ColourTags(BT709, TransferFunction.SRGB, png_chunks=png_chunks)
    if not gamma or not _MIN_EXPONENT <= 1 / gamma <= _MAX_EXPONENT:
        return None
    return ColourTags(chromaticities or BT709, TransferFunction.GAMMA, 1 / gamma, png_chunks=png_chunks)


def srgb_tags(*, png_chunks: bytes) -> ColourTags:
    """Returns the tags for PNG's `sRGB`."""
    return ColourTags(BT709, TransferFunction.SRGB, png_chunks=png_chunks)


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """Returns a PNG chunk with length and checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
