import bz2
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.api.media_types import JPEG, PNG, ZIP
from sightline.client import Picture, Unreadable
from sightline.client.pictures import encode, encode_array, opened

RNG = np.random.default_rng(4)
PNG_BYTES = encode_array(np.zeros((2, 2), np.uint8))


def decode(data: bytes) -> np.ndarray:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def test_array_keeps_its_samples_at_8_and_16_bits() -> None:
    for dtype in (np.uint8, np.uint16):
        array = RNG.integers(0, np.iinfo(dtype).max, (7, 5, 3), endpoint=True).astype(dtype)
        assert np.array_equal(decode(encode_array(array)), array)


def test_array_of_every_layout_is_a_png_that_pillow_reads() -> None:
    for shape, mode in (((4, 6), "L"), ((4, 6, 1), "L"), ((4, 6, 3), "RGB"), ((4, 6, 4), "RGBA")):
        array = RNG.integers(0, 256, shape).astype(np.uint8)
        image = Image.open(io.BytesIO(encode_array(array)))
        assert (image.mode, image.size) == (mode, (6, 4))
        assert np.array_equal(np.asarray(image), array.squeeze())


def test_transposed_array_is_sent_as_it_is_indexed() -> None:
    array = RNG.integers(0, 256, (5, 9, 3)).astype(np.uint8).transpose(1, 0, 2)
    assert np.array_equal(decode(encode_array(array)), array)


def test_boolean_mask_becomes_black_and_white() -> None:
    mask = np.array([[True, False]])
    assert np.asarray(Image.open(io.BytesIO(encode_array(mask)))).tolist() == [[255, 0]]


def test_array_of_another_byte_order_keeps_its_samples() -> None:
    array = RNG.integers(0, 65536, (3, 5, 3)).astype(">u2")
    assert np.array_equal(decode(encode_array(array)), array)


def test_file_that_can_be_sent_again_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    for file in ((tmp_path / "photo.jpg").open("rb"), io.BytesIO(b"photo")):
        with file:
            assert encode(file) is file


@pytest.mark.parametrize("open_packed", [gzip.open, bz2.open])
def test_compressed_file_is_sent_decompressed_and_from_its_start(
    tmp_path: Path, open_packed: Callable[[Path, str], IO[bytes]]
) -> None:
    with open_packed(tmp_path / "photo", "wb") as file:
        file.write(b"photo" * 99)
    with open_packed(tmp_path / "photo", "rb") as file:
        file.read(7)
        assert encode(file) == b"photo" * 99


def test_pipe_is_read_into_memory() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"photo")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        assert encode(file) == b"photo"


def test_text_file_is_refused() -> None:
    with pytest.raises(TypeError, match="open as text is no picture; open it with the mode 'rb'"):
        encode(io.StringIO("photo"))  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_pillow_image_of_a_mode_of_png_is_sent(mode: str) -> None:
    sent = encode(Image.new(mode, (3, 2)))
    assert isinstance(sent, bytes)
    assert Image.open(io.BytesIO(sent)).size == (3, 2)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "F", "LAB"])
def test_pillow_image_of_another_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=rf"mode {mode} cannot be sent as PNG; send its file, or image\.convert"):
        encode(Image.new(mode, (3, 2)))


def test_pillow_image_of_32_bits_is_sent_only_if_16_suffice() -> None:
    image = Image.new("I", (3, 2), 65535)
    assert np.asarray(Image.open(io.BytesIO(encode(image)))).max() == 65535  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode I cannot be sent"):
        encode(Image.new("I", (3, 2), 65536))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 3)), "an array of float64 is no picture; convert it to uint8"),
        (np.zeros((2, 2, 2), np.uint8), r"an array of shape \(2, 2, 2\) is no picture"),
        (np.zeros((0, 4), np.uint8), r"an array of shape \(0, 4\) is no picture"),
        (np.zeros(4, np.uint8), r"an array of shape \(4,\) is no picture"),
    ],
)
def test_array_that_is_no_picture_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(array)


def test_pillow_image_keeps_orientation_and_profile() -> None:
    image = Image.new("RGB", (4, 2), (9, 8, 7))
    image.getexif()[0x0112] = 6
    image.info["icc_profile"] = b"a profile"
    data = encode(image)
    assert isinstance(data, bytes)
    received = Image.open(io.BytesIO(data))
    assert received.getexif()[0x0112] == 6
    assert received.info["icc_profile"] == b"a profile"


def test_path_is_opened_for_each_attempt_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"bytes")
    for _ in range(2):
        with opened([("image", encode(path))]) as ((_, file),):
            assert not isinstance(file, bytes)
            assert file.read() == b"bytes"
        assert file.closed


def test_file_of_the_caller_stays_open() -> None:
    file = io.BytesIO(b"bytes")
    with opened([("image", encode(file))]):
        pass
    assert not file.closed


def test_unseekable_file_is_read_so_that_it_can_be_sent_again() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    assert encode(Pipe(b"bytes")) == b"bytes"


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int is no picture; send a path, bytes"):
        encode(3)  # type: ignore[arg-type]


def test_result_is_decoded_and_saved(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (3, 5, 3)).astype(np.uint8)
    picture = Picture(encode_array(array), PNG)
    assert np.array_equal(picture.array, array)
    assert picture.image.size == (5, 3)
    assert picture.save(tmp_path / "out.png").read_bytes() == picture.data
    assert [each.name for each in tmp_path.iterdir()] == ["out.png"]


def test_png_of_16_bits_keeps_its_depth() -> None:
    array = RNG.integers(0, 65536, (3, 5, 3)).astype(np.uint16)
    picture = Picture(encode_array(array), PNG)
    assert picture.array.dtype == np.uint16
    assert np.array_equal(picture.array, array)


def test_failed_save_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(IsADirectoryError):
        Picture(PNG_BYTES, PNG).save(tmp_path / "out.png")
    assert [each.name for each in tmp_path.iterdir()] == ["out.png"]


def test_wrong_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"this is image/jpeg, not image/png: save it as \.jpg or \.jpeg"):
        Picture(b"\xff\xd8\xff", JPEG).save(tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_archive_is_not_decoded_as_a_picture() -> None:
    with pytest.raises(Unreadable, match="application/zip is not decoded here; save it"):
        _ = Picture(b"PK", ZIP).image
