"""What a picture's header says, and the exception that asks for more of the file."""

from dataclasses import dataclass
from enum import StrEnum

from sightline.api.problems import Code, Problem

Buffer = bytes | bytearray | memoryview


class ImageFormat(StrEnum):
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    HEIC = "heic"
    AVIF = "avif"
    GIF = "gif"

    @property
    def media_type(self) -> str:
        return f"image/{self}"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The stored size, before EXIF orientation; `frames` is None where only reading the whole file would tell."""

    format: ImageFormat
    width: int
    height: int
    frames: int | None
    bit_depth: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


class IncompleteError(Exception):
    """The file goes on; nothing new can be known before it is `size_bytes` long."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


def take(data: Buffer, start: int, count: int) -> bytes:
    """`count` bytes at `start`, or IncompleteError: never a short slice."""
    if start + count > len(data):
        raise IncompleteError(start + count)
    return bytes(data[start : start + count])


def unreadable(detail: str) -> Problem:
    return Problem(Code.UNREADABLE_IMAGE, detail)


def unsupported_file(name: str | None) -> Problem:
    """name: what the file is, with its article, where that is known."""
    this = f"This is {name}" if name else "This is not a picture that can be read"
    return unsupported(f"{this}; send a JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF file.")


def unsupported(detail: str) -> Problem:
    return Problem(Code.UNSUPPORTED_FORMAT, detail, supported=[format.media_type for format in ImageFormat])
