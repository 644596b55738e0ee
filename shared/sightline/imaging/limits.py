"""How large a picture may be, and what decoding it may take."""

from collections.abc import Iterable
from dataclasses import dataclass

from sightline.api.problems import Code, Problem
from sightline.imaging.formats import ImageHeader


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """`max_decode_s` of a core and `max_decode_bytes` of memory are for the largest pictures; smaller ones get less."""

    max_bytes: int
    max_pixels: int
    max_side_px: int = 65_535
    max_decode_s: float = 30.0
    max_decode_bytes: int = 4 << 30

    def check(self, header: ImageHeader, size_bytes: int) -> None:
        """Raises Problem TOO_MANY_BYTES or TOO_MANY_PIXELS, which name the limit."""
        self.check_bytes(size_bytes)
        if header.pixels > self.max_pixels:
            raise Problem(
                Code.TOO_MANY_PIXELS,
                f"The picture has {header.pixels} pixels; at most {self.max_pixels} are allowed.",
                pixels=header.pixels,
                max_pixels=self.max_pixels,
            )
        self._check_sides(header)

    def check_bytes(self, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise Problem(
                Code.TOO_MANY_BYTES,
                f"The file has {size_bytes} bytes; at most {self.max_bytes} are allowed.",
                size_bytes=size_bytes,
                max_bytes=self.max_bytes,
            )

    def _check_sides(self, header: ImageHeader) -> None:
        longest_px = max(header.width, header.height)
        if longest_px > self.max_side_px:
            raise Problem(
                Code.TOO_MANY_PIXELS,
                f"The picture's longer side has {longest_px} pixels; at most {self.max_side_px} are allowed.",
                side_px=longest_px,
                max_side_px=self.max_side_px,
            )


def require_pixels_within(pixels: Iterable[int], max_request_pixels: int) -> None:
    """Of all pictures and masks of a request together; raises Problem TOO_MANY_PIXELS, which names the limit."""
    total = sum(pixels)
    if total > max_request_pixels:
        raise Problem(
            Code.TOO_MANY_PIXELS,
            f"The pictures of the request have {total} pixels together; at most {max_request_pixels} are allowed. "
            "Send fewer pictures in one request.",
            pixels=total,
            max_request_pixels=max_request_pixels,
        )
