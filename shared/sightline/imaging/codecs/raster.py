"""What a decoder hands over, before orientation and colour are looked at."""

from dataclasses import dataclass
from typing import Protocol

from sightline.imaging.formats import ImageHeader, unreadable
from sightline.imaging.metadata import Metadata
from sightline.imaging.picture import Samples


@dataclass(frozen=True, slots=True)
class Raster:
    """Samples (h, w, c) of 8 or 16 bits and full range.

    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha or, if `cmyk`, inks with 0 = none.
    """

    samples: Samples
    metadata: Metadata
    notes: tuple[str, ...] = ()
    cmyk: bool = False


class Decoder(Protocol):
    """Bytes whose header passed the limits to samples; whatever it raises means an unreadable file."""

    def __call__(self, data: bytes, header: ImageHeader, min_short_side_px: int | None) -> Raster: ...


def require_size(size_px: tuple[int, int], header: ImageHeader) -> None:
    """A decoder that sees another size than the header told would escape the limits."""
    if tuple(size_px) != (header.width, header.height):
        raise unreadable("The picture's size is not the one that its header gives.")
