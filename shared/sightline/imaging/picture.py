"""Decoded pictures: as codecs return them, and in the displayed frame."""

from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.tags import ColourTags
from sightline.imaging.formats import ImageFormat, Metadata

Samples: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""uint8 or uint16, full range."""

FIRST_FRAME_ONLY = "first-frame-only"
ICC_IGNORED = "icc-ignored"
COLOUR_TAGS_IGNORED = "colour-tags-ignored"
HDR_TONE_MAPPED = "hdr-tone-mapped"
CMYK_CONVERTED = "cmyk-converted"
REDUCED_TO_8_BIT = "reduced-to-8-bit"
ORIENTATION_IGNORED = "orientation-ignored"


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Samples (h, w, c) of 8 or 16 bits and full range in the stored frame, as a codec returns them.

    Channels: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha or, if `cmyk`, inks with 0 = none.
    """

    samples: Samples
    metadata: Metadata
    notes: tuple[str, ...] = ()
    cmyk: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels in the displayed frame (EXIF orientation applied), in the photo's own colour space and bit depth.

    pixels: (h, w, 3), also of grey photos; alpha: (h, w) of the same type, or None.
    The displayed frame is that of browsers: the EXIF orientation of JPEG, PNG and TIFF and the transforms of HEIC and
    AVIF are applied; the EXIF orientation of WebP, and of PNG behind its pixels, is not.
    orientation: EXIF tag of the stored frame, 1..8; 1 for HEIC and AVIF, whose decoders rotate the picture.
    size_px: displayed width and height of the whole photo, larger than `pixels` only after a scaled decode.
    sha256: hex digest of the original bytes.
    colour_tags: the colour space, unless an ICC profile gives it; without either it is sRGB.
    """

    pixels: Samples
    alpha: Samples | None
    format: ImageFormat
    bit_depth: int
    orientation: int
    icc_profile: bytes | None
    grey: bool
    notes: tuple[str, ...]
    sha256: str
    size_px: tuple[int, int] = field(default=(0, 0))
    colour_tags: ColourTags | None = None

    def __post_init__(self) -> None:
        if self.size_px == (0, 0):
            object.__setattr__(self, "size_px", (self.width, self.height))

    def with_srgb_pixels(self, pixels: NDArray[np.uint8], *, grey: bool = False) -> Self:
        """Returns an opaque picture of sRGB pixels (h, w, 3) with the frame and orientation of this one."""
        plain = replace(self, pixels=pixels, alpha=None, bit_depth=8, grey=grey)
        return replace(plain, icc_profile=None, colour_tags=None)

    @property
    def is_hdr(self) -> bool:
        return self.colour_tags is not None and self.colour_tags.is_hdr

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
