"""Encoding of results in the frame, colour space and size of the photo that they come from."""

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
class _EncodeJob:
    """Input of an encoder: samples (h, w, c) in the stored frame, as in a DecodedImage, and options."""

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
    """Encodes pixels in the stored frame of the photo `like`, with its orientation, profile or colour tags only.

    WebP stores the displayed frame, as browsers ignore its orientation. JPEG and WebP of HDR photos are tone-mapped.

    pixels: (h, w, 3) in the displayed frame and colour space of `like`; for grey photos the first channel is used.
    alpha: (h, w), dropped by JPEG. PNG is bit-exact for 8 and 16 bits, WebP for 8 bits if `lossless`.
    Raises Problem NOT_ACCEPTABLE for other media types and for pictures that are too large for the format.
    """
    if media_type not in _ENCODERS:
        raise Problem(Code.NOT_ACCEPTABLE, "Pictures are available as PNG, JPEG or WebP.", offered=list(_ENCODERS))
    _require_sides(pixels, media_type)
    if like.is_hdr and media_type != _PNG:
        shown = to_srgb(replace(like, pixels=pixels))
        like = like.with_srgb_pixels(shown, grey=like.grey)
        pixels, alpha = shown, None if alpha is None else to_8_bit(alpha)
    if media_type != _PNG and not lossless:
        pixels, like = _recode_for_8_bit(pixels, like)
        alpha = None if alpha is None else alpha if pixels.dtype == alpha.dtype else to_8_bit(alpha)
    orientation = like.orientation if media_type in _ORIENTED_BY_BROWSERS else 1
    samples = to_stored(_with_alpha(pixels, alpha, grey=like.grey), orientation)
    metadata = replace(_colour_metadata(media_type, like), orientation=orientation)
    return _ENCODERS[media_type](_EncodeJob(samples, metadata, quality, lossless))


def _recode_for_8_bit(pixels: Samples, like: Picture) -> tuple[Samples, Picture]:
    """Changes linear light to sRGB's curve, as 8 bits would leave its shadows a few steps only."""
    tags = like.colour_tags
    if tags is None or tag_conversion.suits_8_bits(tags):
        return pixels, like
    recoded, tags = tag_conversion.with_srgb_curve(pixels, tags)
    return recoded, replace(like, colour_tags=tags)


def encoding_notes(pixels: Samples, media_type: str) -> tuple[str, ...]:
    """Returns notes on the losses of these pixels in this format."""
    return (REDUCED_TO_8_BIT,) if pixels.itemsize > 1 and media_type in _ENCODERS and media_type != _PNG else ()


def _colour_metadata(media_type: str, like: Picture) -> Metadata:
    """Returns the colour space of `like` in the terms of the format: only PNG has tags."""
    tags = like.colour_tags
    if tags is None:
        return Metadata(icc_profile=like.icc_profile)
    profile = None if tags.is_hdr or tags.is_srgb else tag_conversion.icc_profile(tags, grey=like.grey)
    if media_type != _PNG:
        return Metadata(icc_profile=profile)
    # For photos that were no PNG, a profile serves viewers that do not support cICP.
    return Metadata(icc_profile=None if like.format is ImageFormat.PNG else profile, colour_tags=tags)


def _require_sides(pixels: Samples, media_type: str) -> None:
    longest_px, max_side_px = max(pixels.shape[:2]), _MAX_SIDE_PX[media_type]
    if longest_px > max_side_px:
        raise Problem(
            Code.NOT_ACCEPTABLE,
            f"The picture's longer side has {longest_px} pixels; {media_type} allows at most {max_side_px}.",
            side_px=longest_px,
            max_side_px=max_side_px,
            offered=[other for other, limit_px in _MAX_SIDE_PX.items() if longest_px <= limit_px],
        )


def _with_alpha(pixels: Samples, alpha: Samples | None, *, grey: bool) -> Samples:
    colour = pixels[..., :1] if grey else pixels
    return colour if alpha is None else np.dstack([colour, alpha])


def _encode_png(job: _EncodeJob) -> bytes:
    # libpng's fastest settings, which give smaller files of photos than its defaults: photos have few matches but runs.
    samples = _squeeze_grey(job.samples)
    # The buffer that imagecodecs allocates is too small for noise in pictures of one or two pixels in width.
    buffer_bytes = samples.nbytes + samples.nbytes // 8 + 2 * samples.shape[0] + 4096
    file = imagecodecs.png_encode(
        samples,
        level=imagecodecs.PNG.COMPRESSION.SPEED,
        strategy=imagecodecs.PNG.STRATEGY.RLE,
        filter=imagecodecs.PNG.FILTER.SUB,
        out=buffer_bytes,
    )
    return png.with_metadata(bytes(file), job.metadata)


def _encode_jpeg(job: _EncodeJob) -> bytes:
    """Keeps full chroma resolution: subsampling would bleed colours of a filled hole over its edge."""
    samples = to_8_bit(job.samples)
    if samples.shape[-1] < 3:
        file = simplejpeg.encode_jpeg(np.ascontiguousarray(samples[..., :1]), job.quality, "GRAY", "Gray")
    else:
        file = simplejpeg.encode_jpeg(np.ascontiguousarray(samples[..., :3]), job.quality, "RGB", "444")
    return jpeg.with_metadata(file, job.metadata)


def _encode_webp(job: _EncodeJob) -> bytes:
    """Keeps the colours of transparent pixels (`exact`)."""
    file, (samples, metadata) = BytesIO(), _without_grey_profile(job)
    image = Image.fromarray(_squeeze_grey(samples))
    image.save(
        file,
        "WEBP",
        quality=0 if job.lossless else job.quality,  # for lossless files the effort
        lossless=job.lossless,
        method=0 if job.lossless else 2,
        exact=True,
        icc_profile=metadata.icc_profile or b"",
    )
    return file.getvalue()


def _without_grey_profile(job: _EncodeJob) -> tuple[Samples, Metadata]:
    """Converts grey with a profile to sRGB: WebP has no grey, for which a grey profile is made."""
    samples, profile = to_8_bit(job.samples), job.metadata.icc_profile
    if profile is None or samples.shape[-1] > 2:
        return samples, job.metadata
    rgb = icc_profiles.to_srgb(samples[..., 0], profile, ColourSpace.GREY)
    return np.dstack([rgb, samples[..., 1:]]), Metadata()


def _squeeze_grey(samples: Samples) -> Samples:
    """Returns (h, w) for (h, w, 1)."""
    squeezed = samples[..., 0] if samples.shape[-1] == 1 else samples
    # NumPy ignores the strides of sides of one pixel, libpng does not.
    return squeezed.copy() if 1 in squeezed.shape else squeezed


_ENCODERS: Mapping[str, Callable[[_EncodeJob], bytes]] = {
    "image/png": _encode_png,
    "image/jpeg": _encode_jpeg,
    "image/webp": _encode_webp,
}
_ORIENTED_BY_BROWSERS = frozenset({"image/png", "image/jpeg"})
_MAX_SIDE_PX: Mapping[str, int] = {"image/png": 0x7FFFFFFF, "image/jpeg": 65_500, "image/webp": 16_383}
