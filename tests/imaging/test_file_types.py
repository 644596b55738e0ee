"""Files that are no readable pictures are named, however little of them there is."""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile

import pytest

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.header import HeaderSniffer, read_header
from sightline.imaging.limits import PixelLimits


def _iso(brand: bytes, *compatible: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I4s", 8 + len(body), b"ftyp") + body + struct.pack(">I4s", 16, b"mdat") + bytes(64)


def _zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo.jpg", b"a photo")
    return file.getvalue()


FILES = {
    "MP4": _iso(b"isom", b"isom", b"avc1", b"mp41"),
    "MP4 ": _iso(b"mp42", b"isom", b"mp42"),
    "MP4  ": _iso(b"3gp5", b"3gp5", b"isom"),
    "MP4   ": _iso(b"M4V ", b"M4V "),
    "QuickTime": _iso(b"qt  ", b"qt  "),
    "QuickTime ": struct.pack(">I4s", 8, b"wide") + struct.pack(">I4s", 99, b"mdat") + bytes(91),
    "CR3": _iso(b"crx ", b"crx ", b"isom"),
    "M4A": _iso(b"M4A ", b"M4A ", b"mp42"),
    "gzip": gzip.compress(b"a photo" * 9),
    "bzip2": bz2.compress(b"a photo" * 9),
    "xz": lzma.compress(b"a photo" * 9),
    "ZIP": _zipped(),
    "PDF": b"%PDF-1.7\n1 0 obj",
    "BMP": b"BM" + bytes(60),
    "JPEG XL": b"\xff\x0a" + bytes(60),
    "JPEG XL ": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG ": b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg/>',
    "HTML": b"\n<!DOCTYPE html><html><body>Not found</body></html>",
    "XML": b'<?xml version="1.0"?><note/>',
    "JSON": json.dumps({"image": "photo.jpg"}).encode(),
    "Base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD",
    "data: URL": b"data:image/png;base64,iVBORw0KGgo=",
    "WebM": b"\x1aE\xdf\xa3\x9fB\x86\x81\1" + bytes(60),
    "AVI": b"RIFF\0\0\0\0AVI LIST",
    "RAF": b"FUJIFILMCCD-RAW 0201",
    "RW2": b"IIU\0\x18\0\0\0" + bytes(60),
    "ORF": b"IIRO\x08\0\0\0" + bytes(60),
    "Photoshop": b"8BPS\0\1" + bytes(60),
}


@pytest.mark.parametrize("name", FILES)
def test_unsupported_files_are_named(name: str) -> None:
    with pytest.raises(Problem, match=name.strip()) as caught:
        decode(FILES[name], PixelLimits(1 << 20, 1 << 20))
    assert caught.value.code is Code.UNSUPPORTED_FORMAT
    assert "image/jpeg" in caught.value.facts["supported"]


@pytest.mark.parametrize("name", FILES)
def test_unsupported_stream_is_refused_by_its_first_bytes(name: str) -> None:
    with pytest.raises(Problem) as caught:
        _feed_bytewise(FILES[name])
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def _feed_bytewise(data: bytes) -> None:
    sniffer = HeaderSniffer()
    for byte in data:
        sniffer.feed(bytes([byte]))


@pytest.mark.parametrize("data", [bytes(100), b"just some words", b"\xff\xd8" + bytes(60), b"RIFF\0\0\0\0RMID"])
def test_unknown_file_is_refused_without_a_name(data: bytes) -> None:
    with pytest.raises(Problem, match="not a picture that can be read") as caught:
        read_header(data)
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def test_heic_with_video_brands_is_a_picture() -> None:
    """Some writers list brands of films beside those of pictures."""
    with pytest.raises(Problem) as caught:
        read_header(_iso(b"isom", b"heic", b"mif1") + bytes(99))
    assert caught.value.code is not Code.UNSUPPORTED_FORMAT
