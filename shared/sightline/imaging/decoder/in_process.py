"""Decoding of any supported format on the calling thread, after its header has passed the limits."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np

from sightline.api.problems import Problem
from sightline.imaging.codecs import heif, jpeg, pillow, png, tiff
from sightline.imaging.colour_spaces import tag_conversion
from sightline.imaging.colour_spaces.conversion import cmyk_to_srgb
from sightline.imaging.colour_spaces.icc_profiles import ColourSpace, is_usable
from sightline.imaging.formats import ImageFormat, ImageHeader, Metadata, unreadable
from sightline.imaging.header import require_header
from sightline.imaging.limits import PixelLimits
from sightline.imaging.orientation import swaps_sides, to_displayed
from sightline.imaging.picture import (
    CMYK_CONVERTED,
    COLOUR_TAGS_IGNORED,
    HDR_TONE_MAPPED,
    ICC_IGNORED,
    ORIENTATION_IGNORED,
    DecodedImage,
    Picture,
    Samples,
)


class DecodeFunction(Protocol):
    """Function that decodes a file whose header passed the limits; any exception means an unreadable file."""

    def __call__(self, data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage: ...


_DECODERS: Mapping[ImageFormat, DecodeFunction] = {
    ImageFormat.JPEG: jpeg.decode,
    ImageFormat.PNG: png.decode,
    ImageFormat.WEBP: pillow.decode_webp,
    ImageFormat.TIFF: tiff.decode,
    ImageFormat.HEIC: heif.decode_heic,
    ImageFormat.AVIF: heif.decode_avif,
    ImageFormat.GIF: pillow.decode_gif,
}


def decode(data: bytes, limits: PixelLimits, *, min_short_side_px: int | None = None) -> Picture:
    """Decodes the first picture of a file.

    min_short_side_px: JPEGs may be scaled down while decoding, to at least this length of their shorter side.
    Raises Problem UNREADABLE_IMAGE, UNSUPPORTED_FORMAT, TOO_MANY_BYTES or TOO_MANY_PIXELS.
    """
    limits.check_bytes(len(data))
    header = require_header(data)
    limits.check(header, len(data))
    decoded = _with_valid_colour(_decode(data, header, min_short_side_px))
    return _picture(decoded, header, hashlib.sha256(data).hexdigest())


def _decode(data: bytes, header: ImageHeader, min_short_side_px: int | None) -> DecodedImage:
    try:
        return _DECODERS[header.format](data, header, min_short_side_px)
    except (Problem, MemoryError):
        raise
    except Exception as error:  # decoders raise errors of any kind on damaged files
        raise unreadable(f"The {header.format.upper()} file is truncated or damaged.") from error


def _with_valid_colour(decoded: DecodedImage) -> DecodedImage:
    """Converts CMYK to RGB, and drops a profile or tags that do not fit the samples."""
    profile, tags = decoded.metadata.icc_profile, decoded.metadata.colour_tags
    if decoded.cmyk:
        rgb = cmyk_to_srgb(decoded.samples, profile)
        return DecodedImage(rgb, replace(decoded.metadata, icc_profile=None), (*decoded.notes, CMYK_CONVERTED))
    if tags is not None and not tag_conversion.is_usable(tags):
        return replace(decoded, metadata=replace(decoded.metadata, colour_tags=None, colour_tags_ignored=True))
    space = ColourSpace.GREY if decoded.samples.shape[-1] < 3 else ColourSpace.RGB
    if profile is None or is_usable(profile, space):
        return decoded
    return DecodedImage(decoded.samples, replace(decoded.metadata, icc_profile=None), (*decoded.notes, ICC_IGNORED))


def _picture(decoded: DecodedImage, header: ImageHeader, sha256: str) -> Picture:
    orientation = decoded.metadata.orientation
    samples = to_displayed(decoded.samples, orientation)
    pixels, alpha = _split_alpha(samples)
    return Picture(
        pixels=pixels,
        alpha=alpha,
        format=header.format,
        bit_depth=8 * samples.itemsize,
        orientation=orientation,
        icc_profile=decoded.metadata.icc_profile,
        grey=samples.shape[-1] < 3,
        notes=(*decoded.notes, *_metadata_notes(decoded.metadata)),
        sha256=sha256,
        size_px=_displayed_size(samples, header, orientation),
        colour_tags=decoded.metadata.colour_tags,
    )


def _metadata_notes(metadata: Metadata) -> tuple[str, ...]:
    notes = {
        ORIENTATION_IGNORED: metadata.orientation_ignored,
        COLOUR_TAGS_IGNORED: metadata.colour_tags_ignored,
        HDR_TONE_MAPPED: metadata.colour_tags is not None and metadata.colour_tags.is_hdr,
    }
    return tuple(note for note, applies in notes.items() if applies)


def _split_alpha(samples: Samples) -> tuple[Samples, Samples | None]:
    """Splits (h, w, c) into colours (h, w, 3) and alpha (h, w)."""
    channels = samples.shape[-1]
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    if channels < 3:
        return _rgb(np.ascontiguousarray(samples[..., 0])), alpha
    return np.ascontiguousarray(samples[..., :3]), alpha


def _rgb(grey: Samples) -> Samples:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), grey.dtype)


def _displayed_size(samples: Samples, header: ImageHeader, orientation: int) -> tuple[int, int]:
    """Returns width and height before scaled decoding, which only JPEG supports."""
    if header.format is not ImageFormat.JPEG:
        return samples.shape[1], samples.shape[0]
    sides = (header.width, header.height)
    return (sides[1], sides[0]) if swaps_sides(orientation) else sides
