"""Pictures that a client sends and receives."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union, cast
from uuid import uuid4

from sightline.api.media_types import BY_SUFFIX, JPEG, PNG, WEBP
from sightline.client.errors import Unreadable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PictureInput: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Image", "NDArray[Any]"
]
"""A path, encoded bytes, a binary file object, a Pillow image, or an array of shape (h, w), (h, w, 3) or (h, w, 4)."""

COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""Colour types of PNG by the number of channels."""
PNG_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"))
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FAST = 1
DECODABLE = frozenset((PNG, JPEG, WEBP))


@contextmanager
def opened(pictures: list[tuple[str, PictureInput]]) -> Iterator[list[tuple[str, "IO[bytes] | bytes"]]]:
    """Yields the form fields with bytes or open files, which are sent as streams. Files of the caller stay open."""
    with ExitStack() as files:
        yield [(name, files.enter_context(_opened(picture))) for name, picture in pictures]


def encode(picture: PictureInput) -> "str | os.PathLike[str] | bytes | IO[bytes]":
    """Returns a picture in a form that can be sent several times: a path, bytes, or a file on disk or in memory.

    Pillow images are encoded as PNG with their EXIF and colour profile, arrays as PNG of 8 or 16 bits. Other binary
    files are read into memory. Raises TypeError for other types, ValueError for arrays and images without such a PNG.
    """
    if isinstance(picture, (str, os.PathLike, bytes)):
        return picture
    if isinstance(picture, (bytearray, memoryview)):
        return bytes(picture)
    if hasattr(picture, "read"):
        return _encode_file(cast(IO[bytes], picture))
    if hasattr(picture, "__array_interface__") and not hasattr(picture, "getbands"):
        return encode_array(picture)
    if hasattr(picture, "getbands"):
        return _encode_image(cast("Image", picture))
    raise TypeError(
        f"{type(picture).__name__} is no picture; send a path, bytes, a binary file, a Pillow image or a NumPy array"
    )


def encode_array(array: "NDArray[Any]") -> bytes:
    """Returns an array of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) as PNG.

    Booleans become 0 and 255; uint8 and uint16 are kept. Pillow is not used, because it has no colour PNG of 16 bits.
    Raises ValueError for other shapes and types.
    """
    import numpy as np

    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise ValueError(f"an array of {array.dtype} is no picture; convert it to uint8 (0..255) or uint16 (0..65535)")
    channels = 1 if array.ndim == 2 else array.shape[-1] if array.ndim == 3 else 0
    if channels not in COLOUR_TYPES or not array.size:
        raise ValueError(
            f"an array of shape {array.shape} is no picture; its shape must be (h, w), (h, w, 3) or (h, w, 4)"
        )
    height, width = array.shape[:2]
    rows = np.ascontiguousarray(array.astype(array.dtype.newbyteorder(">"), copy=False)).reshape(height, -1)
    # Each row begins with the number of its filter; 0 is none.
    lines = np.zeros((height, 1 + rows.itemsize * rows.shape[1]), np.uint8)
    lines[:, 1:] = rows.view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, 8 * rows.itemsize, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), FAST)), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """An encoded picture or file of a result; it is decoded when `image` or `array` is read."""

    data: bytes
    media_type: str

    @property
    def image(self) -> "Image":
        """The decoded picture. Needs Pillow. Raises Unreadable for scenes, archives and models."""
        self._require_decodable()
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError("`.image` needs Pillow: pip install pillow") from error
        image = Image.open(io.BytesIO(self.data))
        image.load()
        return image

    @property
    def array(self) -> "NDArray[np.uint8 | np.uint16]":
        """The samples, of shape (h, w) or (h, w, channels), uint8 or uint16. Needs NumPy, and Pillow or imagecodecs."""
        self._require_decodable()
        import numpy as np

        if self.media_type == PNG and self.data[24:25] == b"\x10":
            return np.asarray(_decode_deep_png(self.data))
        return np.asarray(self.image)

    def save(self, path: "str | os.PathLike[str]") -> Path:
        """Writes the bytes as they came. Raises ValueError if the suffix belongs to another type."""
        target = Path(path)
        expected = BY_SUFFIX.get(target.suffix.lower())
        if expected is not None and expected != self.media_type:
            suffixes = " or ".join(suffix for suffix, kind in BY_SUFFIX.items() if kind == self.media_type)
            raise ValueError(
                f"this is {self.media_type}, not {expected}: save it as {suffixes}, or ask for another format"
            )
        # Written aside, so that an interruption leaves no half file under this name.
        aside = target.with_name(f".{uuid4().hex}.part")
        try:
            aside.write_bytes(self.data)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
        return target

    def _require_decodable(self) -> None:
        if self.media_type not in DECODABLE:
            raise Unreadable(
                f"{self.media_type} is not decoded here; save it, and open it with a program for this type"
            )

    def __repr__(self) -> str:
        return f"Picture({self.media_type}, {len(self.data)} bytes)"


@contextmanager
def _opened(picture: PictureInput) -> Iterator["IO[bytes] | bytes"]:
    if isinstance(picture, (str, os.PathLike)):
        with Path(picture).open("rb") as file:
            yield file
    else:
        yield cast("IO[bytes] | bytes", picture)


def _encode_file(file: IO[bytes]) -> "bytes | IO[bytes]":
    if isinstance(cast(object, file), io.TextIOBase):
        raise TypeError("a file that is open as text is no picture; open it with the mode 'rb'")
    is_seekable = bool(getattr(file, "seekable", lambda: False)())
    # Only these have the length that the operating system tells: a gzip file has that of its compressed bytes. And a
    # pipe cannot be sent again after a broken connection.
    if is_seekable and isinstance(getattr(file, "raw", file), (io.FileIO, io.BytesIO)):
        return file
    if is_seekable:
        file.seek(0)
    return bytes(file.read())


def _encode_image(image: "Image") -> bytes:
    if image.mode == "I" and _has_16_bits(image):
        image = image.convert("I;16")
    if image.mode not in PNG_MODES:
        raise ValueError(
            f"a Pillow image of mode {image.mode} cannot be sent as PNG; send its file, or image.convert('RGB')"
        )
    buffer = io.BytesIO()
    exif = image.getexif()
    image.save(
        buffer,
        "PNG",
        compress_level=FAST,
        icc_profile=image.info.get("icc_profile"),
        **({"exif": exif} if exif else {}),
    )
    return buffer.getvalue()


def _has_16_bits(image: "Image") -> bool:
    low, high = cast(tuple[int, int], image.getextrema())
    return low >= 0 and high < 1 << 16


def _decode_deep_png(data: bytes) -> "NDArray[np.uint16]":
    # Pillow reduces colour PNG of 16 bits to 8.
    try:
        import imagecodecs
    except ImportError as error:
        raise ImportError("PNG of 16 bits needs imagecodecs for `.array`: pip install imagecodecs") from error
    return cast("NDArray[np.uint16]", imagecodecs.png_decode(data))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
