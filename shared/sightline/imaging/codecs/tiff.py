"""TIFF through tifffile: integer samples of up to 16 bits, in the compressions of scanners and editors."""

from collections.abc import Mapping
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, SAMPLEFORMAT, TiffFile, TiffPage

from sightline.imaging.containers import jpeg, tiff
from sightline.imaging.formats import ImageHeader, Metadata, unreadable, unsupported
from sightline.imaging.picture import FIRST_FRAME_ONLY, DecodedImage, Samples

_JPEG = frozenset({COMPRESSION.OJPEG, COMPRESSION.JPEG})
_CCITT = frozenset({COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6})
_BYTEWISE = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
    }
)
_CHANNELS: Mapping[int, int] = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,  # in JPEG compression only, which decodes to RGB
    PHOTOMETRIC.SEPARATED: 4,
}
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2
_MAX_EXTRA_SAMPLES = 4
# A tile may be larger than the picture, but is decompressed whole: a huge one in a small picture is a bomb.
_MAX_TILE_PX = 4096 * 4096


def decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    """Decodes the first page of full resolution."""
    # The flags keep vendors' tags from leading the reader to further directories.
    with TiffFile(BytesIO(data), is_lsm=False, is_scanimage=False, is_ndpi=False) as file:
        chosen = tiff.picture_directory(data)
        page = _page_at(file, chosen.offset)
        _require_supported(page)
        header.require_size((page.imagewidth, page.imagelength))
        _require_segments(page, data)
        samples = _interleaved(page, page.asarray(maxworkers=1))
        metadata = Metadata(icc_profile=page.iccprofile, orientation=chosen.orientation or tiff.read_orientation(data))
        notes = (FIRST_FRAME_ONLY,) if tiff.has_more_pages(data, chosen) else ()
        cmyk = page.photometric == PHOTOMETRIC.SEPARATED
        return DecodedImage(_interpret(page, samples), metadata, notes, cmyk=cmyk)


def _page_at(file: TiffFile, offset: int) -> TiffPage:
    file.filehandle.seek(offset)
    return TiffPage(file, index=0)


def _require_supported(page: TiffPage) -> None:
    if page.compression not in _BYTEWISE | _CCITT | _JPEG:
        raise unsupported("This compression inside a TIFF file is not supported.")
    if page.sampleformat != SAMPLEFORMAT.UINT or page.bitspersample > 16:
        raise unsupported("TIFF files of floating-point, signed or more than 16-bit samples are not supported.")
    channels = _CHANNELS.get(page.photometric)
    if channels is None or (page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG):
        raise unsupported("TIFF files of this colour model are not supported.")
    if not channels <= page.samplesperpixel <= channels + _MAX_EXTRA_SAMPLES or page.imagedepth != 1:
        raise unsupported("TIFF files with this number of channels are not supported.")


def _require_segments(page: TiffPage, data: bytes) -> None:
    """Raises if strips or tiles are missing or too large: tifffile fills missing ones with black."""
    if page.is_tiled and page.tilewidth * page.tilelength > max(_MAX_TILE_PX, 4 * page.imagewidth * page.imagelength):
        raise unreadable("The TIFF file's tiles are far larger than the picture.")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    whole = all(size > 0 and start > 0 and start + size <= len(data) for start, size in segments)
    if not whole or len(segments) < prod(page.chunked) or sum(page.databytecounts) < _min_bytes(page):
        raise unreadable("The TIFF file is truncated or damaged.")
    if page.compression in _JPEG:
        _require_small_jpegs(page, [data[start : start + size] for start, size in segments])


def _min_bytes(page: TiffPage) -> int:
    """Returns the size of uncompressed samples, which tifffile reads in one piece whatever the byte counts are."""
    if page.compression != COMPRESSION.NONE:
        return 0
    return page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample // 8


def _require_small_jpegs(page: TiffPage, streams: list[bytes]) -> None:
    strip_px = min(page.rowsperstrip, page.imagelength) * page.imagewidth
    segment_px = page.tilewidth * page.tilelength if page.is_tiled else strip_px
    for stream in streams:
        # Strips may be padded to whole blocks of 16 pixels.
        if jpeg.read_header(stream).pixels > 4 * segment_px + 4096:
            raise unreadable("A JPEG strip inside the TIFF file is larger than the picture.")


def _interleaved(page: TiffPage, samples: NDArray[Any]) -> NDArray[Any]:
    """Returns (h, w, c) for either planar configuration."""
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        samples = np.moveaxis(samples, 0, -1)
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    return samples.reshape(shape)


def _interpret(page: TiffPage, samples: NDArray[Any]) -> Samples:
    """Converts stored samples (h, w, c) to grey, RGB or CMYK of 8 or 16 bits and full range, with alpha last."""
    channels = _CHANNELS[page.photometric]
    colour = _colour(page, samples[..., :channels])
    kinds = [int(kind) for kind in page.extrasamples]
    places = [place for place, kind in enumerate(kinds) if kind in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA)]
    if not places or colour.shape[-1] == 4:
        return colour
    alpha = _full_range(samples[..., channels + places[0]], page.bitspersample)
    if kinds[places[0]] == _ASSOCIATED_ALPHA:
        colour = _unpremultiplied(colour, alpha)
    result: Samples = np.dstack([colour, alpha.astype(colour.dtype)])
    return result


def _colour(page: TiffPage, samples: NDArray[Any]) -> Samples:
    if page.photometric == PHOTOMETRIC.PALETTE:
        colours: Samples = _palette(page)[samples[..., 0]]
        return colours
    colour = _full_range(samples, page.bitspersample)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return np.invert(colour)
    return colour


def _palette(page: TiffPage) -> Samples:
    """Returns (2 ** bits, 3) of 8 bits; palettes are stored with 16 bits, by some writers with 8."""
    table = page.colormap
    if table is None or page.bitspersample > 8 or table.shape != (3, 1 << page.bitspersample):
        raise unreadable("The TIFF file's palette is broken.")
    return (table if table.max() < 256 else table >> 8).astype(np.uint8).T


def _full_range(samples: NDArray[Any], bits: int) -> Samples:
    if bits in (8, 16):
        return samples
    dtype = np.uint8 if bits < 8 else np.uint16
    scaled: Samples = (samples.astype(np.uint32) * np.iinfo(dtype).max // ((1 << bits) - 1)).astype(dtype)
    return scaled


def _unpremultiplied(colour: Samples, alpha: Samples) -> Samples:
    top = np.iinfo(colour.dtype).max
    straight = colour.astype(np.float32) * (top / np.maximum(alpha, 1).astype(np.float32))[..., None]
    result: Samples = np.clip(np.rint(straight), 0, top).astype(colour.dtype)
    return result
