"""Limits on the size of pictures, and on time and memory of decoding them."""

from collections.abc import Iterable
from dataclasses import dataclass

from sightline.api.problems import Code, Problem
from sightline.imaging.formats import ImageHeader

# Ten times what the slowest codec takes on the machines that it was measured on.
_BASE_S, _S_PER_MEGAPIXEL = 2.0, 0.15
# Codecs hold a picture several times: coded planes, samples, the turned copy, the copy that is handed over.
_BASE_BYTES, _BYTES_PER_PX = 384 << 20, 24
# The processor's time, of which a busy machine gives each process a part.
_WALL_PER_CPU_S = 10.0


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """Limits on one picture file.

    max_decode_s: processor time, and max_decode_bytes: memory, of decoding the largest pictures; smaller ones get less.
    """

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
        """Raises Problem TOO_MANY_BYTES, which names the limit."""
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


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """Limits on decoding one picture in a child process.

    cpu_s: processor time of all threads; wall_s: time until the process is killed; memory_bytes: address space;
    output_bytes: size of the decoded picture.
    """

    cpu_s: float
    wall_s: float
    memory_bytes: int
    output_bytes: int

    @classmethod
    def for_picture(cls, header: ImageHeader, limits: PixelLimits) -> "DecodingLimits":
        """Returns the limits for the size and bit depth that a header gives."""
        wide = 2 if header.bit_depth > 8 else 1
        cpu_s = min(_BASE_S + _S_PER_MEGAPIXEL * header.pixels / 1e6, limits.max_decode_s)
        memory_bytes = min(_BASE_BYTES + _BYTES_PER_PX * wide * header.pixels, limits.max_decode_bytes)
        return cls(cpu_s, _WALL_PER_CPU_S * cpu_s, memory_bytes, memory_bytes // 2)


def require_pixels_within(pixels: Iterable[int], max_request_pixels: int) -> None:
    """Raises Problem TOO_MANY_PIXELS if the pictures and masks of one request exceed the limit together."""
    total = sum(pixels)
    if total > max_request_pixels:
        raise Problem(
            Code.TOO_MANY_PIXELS,
            f"The pictures of the request have {total} pixels together; at most {max_request_pixels} are allowed. "
            "Send fewer pictures in one request.",
            pixels=total,
            max_request_pixels=max_request_pixels,
        )
