"""Pixels to bytes, in the frame, colour space and size of the photo they came from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.bit_depth import to_8_bit
from sightline.imaging.colour_spaces import icc_profiles, tag_conversion
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.colour_spaces.icc_profiles import ColourSpace
from sightline.imaging.containers import jpeg, png
from sightline.imaging.formats import ImageFormat, Metadata
from sightline.imaging.orientation import to_stored
from sightline.imaging.picture import REDUCED_TO_8_BIT, Picture, Samples

DEFAULT_QUALITY = 92
_PNG = "image/png"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an encoder gets: samples (h, w, c) in the stored frame as in a DecodedImage."""

    samples: Samples
    metadata: Metadata
    quality: int
    lossless: bool


def encode(
    pixels: Samples,
    media_type: str,
    like: Picture,
    *,
    alpha: Samples | None = None,
    quality: int = DEFAULT_QUALITY,
    lossless: bool = False,
) -> bytes:
    """A file in the stored frame of `like`, with its orientation, profile or colour tags, and no other metadata.

    WebP holds the displayed frame without an orientation, which browsers do not heed there. Of HDR photos JPEG and WebP
    hold what a display without HDR shows.

    pixels: (h, w, 3) in the displayed frame and colour space of `like`, of a grey photo the first channel counts;
    alpha: (h, w), dropped by JPEG. PNG is bit-exact for 8 and 16 bits, WebP is for 8 bits if `lossless`.
    Raises Problem NOT_ACCEPTABLE for other media types and for pictures that the format cannot hold.
    """
    if media_type not in _ENCODERS:
        raise Problem(Code.NOT_ACCEPTABLE, "Pictures are written as PNG, JPEG or WebP.", offered=list(_ENCODERS))
    _require_sides(pixels, media_type)
    if like.is_hdr and media_type != _PNG:
        shown = to_srgb(replace(like, pixels=pixels))
        like = like.with_srgb_pixels(shown, grey=like.grey)
        pixels, alpha = shown, None if alpha is None else to_8_bit(alpha)
    if media_type != _PNG and not lossless:
        pixels, like = _coded_for_8_bits(pixels, like)
        alpha = None if alpha is None else alpha if pixels.dtype == alpha.dtype else to_8_bit(alpha)
    orientation = like.orientation if media_type in _TURNED_BY_BROWSERS else 1
    samples = to_stored(_joined(pixels, alpha, grey=like.grey), orientation)
    metadata = replace(_described(media_type, like), orientation=orientation)
    return _ENCODERS[media_type](_Plan(samples, metadata, quality, lossless))


def _coded_for_8_bits(pixels: Samples, like: Picture) -> tuple[Samples, Picture]:
    """Shadows of linear light would fall apart into a few steps."""
    tags = like.colour_tags
    if tags is None or tag_conversion.suits_8_bits(tags):
        return pixels, like
    recoded, tags = tag_conversion.with_srgb_curve(pixels, tags)
    return recoded, replace(like, colour_tags=tags)


def encoding_notes(pixels: Samples, media_type: str) -> tuple[str, ...]:
    """Notes on what these pixels lose in this format."""
    return (REDUCED_TO_8_BIT,) if pixels.itemsize > 1 and media_type in _ENCODERS and media_type != _PNG else ()


def _described(media_type: str, like: Picture) -> Metadata:
    """The colour space of `like` in the terms of the format: only PNG has tags."""
    tags = like.colour_tags
    if tags is None:
        return Metadata(icc_profile=like.icc_profile)
    profile = None if tags.is_hdr or tags.is_srgb else tag_conversion.icc_profile(tags, grey=like.grey)
    if media_type != _PNG:
        return Metadata(icc_profile=profile)
    # Of photos that were no PNG a profile helps viewers that do not know cICP.
    return Metadata(icc_profile=None if like.format is ImageFormat.PNG else profile, colour_tags=tags)


def _require_sides(pixels: Samples, media_type: str) -> None:
    longest_px = max(pixels.shape[:2])
    if longest_px > _MAX_SIDE_PX[media_type]:
        raise Problem(
            Code.NOT_ACCEPTABLE,
            f"The picture's longer side has {longest_px} pixels; {media_type} holds {_MAX_SIDE_PX[media_type]}.",
            side_px=longest_px,
            max_side_px=_MAX_SIDE_PX[media_type],
            offered=[other for other, side_px in _MAX_SIDE_PX.items() if longest_px <= side_px],
        )


def _joined(pixels: Samples, alpha: Samples | None, *, grey: bool) -> Samples:
    colour = pixels[..., :1] if grey else pixels
    return colour if alpha is None else np.dstack([colour, alpha])


def _encode_png(plan: _Plan) -> bytes:
    # libpng's fastest settings, which beat its default on photos in size too: deflate finds little but runs in them.
    samples = _flat(plan.samples)
    # The room that imagecodecs would set aside is too little for noise in pictures of a pixel or two in width.
    room_bytes = samples.nbytes + samples.nbytes // 8 + 2 * samples.shape[0] + 4096
    file = imagecodecs.png_encode(
        samples,
        level=imagecodecs.PNG.COMPRESSION.SPEED,
        strategy=imagecodecs.PNG.STRATEGY.RLE,
        filter=imagecodecs.PNG.FILTER.SUB,
        out=room_bytes,
    )
    return png.with_metadata(bytes(file), plan.metadata)


def _encode_jpeg(plan: _Plan) -> bytes:
    """Full chroma resolution: subsampling would bleed the colours of a filled hole over its edge."""
    samples = to_8_bit(plan.samples)
    if samples.shape[-1] < 3:
        file = simplejpeg.encode_jpeg(np.ascontiguousarray(samples[..., :1]), plan.quality, "GRAY", "Gray")
    else:
        file = simplejpeg.encode_jpeg(np.ascontiguousarray(samples[..., :3]), plan.quality, "RGB", "444")
    return jpeg.with_metadata(file, plan.metadata)


def _encode_webp(plan: _Plan) -> bytes:
    """`exact` keeps the colours below transparent pixels."""
    file, (samples, metadata) = BytesIO(), _without_grey_profile(plan)
    image = Image.fromarray(_flat(samples))
    image.save(
        file,
        "WEBP",
        quality=0 if plan.lossless else plan.quality,  # of lossless files the effort
        lossless=plan.lossless,
        method=0 if plan.lossless else 2,
        exact=True,
        icc_profile=metadata.icc_profile or b"",
    )
    return file.getvalue()


def _without_grey_profile(plan: _Plan) -> tuple[Samples, Metadata]:
    """WebP knows no grey, so that a profile of grey tones would not fit its pixels: they become sRGB."""
    samples, profile = to_8_bit(plan.samples), plan.metadata.icc_profile
    if profile is None or samples.shape[-1] > 2:
        return samples, plan.metadata
    rgb = icc_profiles.to_srgb(samples[..., 0], profile, ColourSpace.GREY)
    return np.dstack([rgb, samples[..., 1:]]), Metadata()


def _flat(samples: Samples) -> Samples:
    """(h, w) instead of (h, w, 1)."""
    flat = samples[..., 0] if samples.shape[-1] == 1 else samples
    # To NumPy the strides of sides of one pixel do not matter, to libpng they do.
    return flat.copy() if 1 in flat.shape else flat


_ENCODERS: Mapping[str, Callable[[_Plan], bytes]] = {
    "image/png": _encode_png,
    "image/jpeg": _encode_jpeg,
    "image/webp": _encode_webp,
}
_TURNED_BY_BROWSERS = frozenset({"image/png", "image/jpeg"})
_MAX_SIDE_PX: Mapping[str, int] = {"image/png": 0x7FFFFFFF, "image/jpeg": 65_500, "image/webp": 16_383}
