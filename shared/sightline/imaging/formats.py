"""Formats of picture files, their header and metadata, and the errors of readers.

Pure Python, so that the gateway reads headers without NumPy.
"""

from dataclasses import dataclass
from enum import StrEnum

from sightline.api.problems import Code, Problem
from sightline.imaging.colour_spaces.tags import ColourTags

Buffer = bytes | bytearray | memoryview


class ImageFormat(StrEnum):
    """Supported formats of picture files."""

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
    """Format, size and bit depth of a picture file, as its header gives them.

    width, height: of the stored frame, before EXIF orientation; frames: None if only the whole file has their number.
    """

    format: ImageFormat
    width: int
    height: int
    frames: int | None
    bit_depth: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def require_size(self, size_px: tuple[int, int]) -> None:
        """Raises Problem UNREADABLE_IMAGE if a decoder gives another width and height: they would escape the limits."""
        if tuple(size_px) != (self.width, self.height):
            raise unreadable("The picture's size is not the one that its header gives.")


@dataclass(frozen=True, slots=True)
class Metadata:
    """Metadata of a file that changes how its pixels are displayed.

    orientation: EXIF, 1..8; icc_profile: as found, not validated yet.
    colour_tags: None where an ICC profile takes precedence; colour_tags_ignored: the file has invalid or unknown ones.
    orientation_ignored: the file has an EXIF orientation that browsers ignore; `orientation` is 1 then.
    """

    orientation: int = 1
    icc_profile: bytes | None = None
    orientation_ignored: bool = False
    colour_tags: ColourTags | None = None
    colour_tags_ignored: bool = False


class IncompleteError(Exception):
    """Raised when a header needs more of the file: at least its first `size_bytes`."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self.size_bytes = size_bytes


def read_exactly(data: Buffer, start: int, count: int) -> bytes:
    """Returns `count` bytes at `start`, or raises IncompleteError."""
    if start + count > len(data):
        raise IncompleteError(start + count)
    return bytes(data[start : start + count])


def unreadable(detail: str) -> Problem:
    """Returns a Problem UNREADABLE_IMAGE."""
    return Problem(Code.UNREADABLE_IMAGE, detail)


def unsupported_file(name: str | None) -> Problem:
    """Returns a Problem UNSUPPORTED_FORMAT; `name` is the file's type with its article, or None if unknown."""
    this = f"This is {name}" if name else "This is not a picture that can be read"
    return unsupported(f"{this}; send a JPEG, PNG, WebP, TIFF, HEIC, AVIF or GIF file.")


def unsupported(detail: str) -> Problem:
    """Returns a Problem UNSUPPORTED_FORMAT that lists the supported media types."""
    return Problem(Code.UNSUPPORTED_FORMAT, detail, supported=[format.media_type for format in ImageFormat])
