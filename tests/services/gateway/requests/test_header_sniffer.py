import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from services.gateway.requests.header_sniffer import BodySniffer, FormSniffer, sniffer_for
from sightline.api.problems import Code, Problem

BOUNDARY = b"fence"


def png(width: int, height: int, *, padding: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", bytes(padding))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def part(headers: bytes, content: bytes) -> bytes:
    return b"--" + BOUNDARY + b"\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


def field(name: bytes, content: bytes) -> bytes:
    disposition = b'Content-Disposition: form-data; name="' + name + b'"; filename="x"'
    return part(disposition + b"\r\nContent-Type: image/png", content)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def feed(sniffer: BodySniffer, body: bytes, chunk_bytes: int) -> None:
    for start in range(0, len(body), chunk_bytes):
        sniffer.feed(body[start : start + chunk_bytes])


IMAGE = field(b"image", png(640, 480, padding=500))
MASK = field(b"mask", png(64, 48, padding=300) + b"\r\n--fenc\r\n--" + bytes(40))

FORMS = {
    "image first": form(IMAGE, MASK),
    "image last": form(MASK, field(b"regions", b"[]"), IMAGE),
    "unquoted name": form(part(b"content-disposition:form-data;name=image", png(640, 480, padding=90))),
    "preamble": b"to be ignored\r\n" + form(IMAGE),
    "empty part before": form(field(b"mask", b""), IMAGE),
    "empty fields before": form(field(b"image", b""), field(b"image[]", b""), field(b"image", b""), IMAGE),
    "empty field after": form(IMAGE, field(b"image", b"")),
    "tiny picture": form(field(b"image", png(640, 480))),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 100_000])
def test_image_part_is_found_wherever_chunks_break(body: bytes, chunk_bytes: int) -> None:
    sniffer = FormSniffer(BOUNDARY)
    feed(sniffer, body, chunk_bytes)
    assert sniffer.header is not None
    assert (sniffer.header.width, sniffer.header.height) == (640, 480)


@given(st.lists(st.integers(min_value=1, max_value=200), min_size=1))
def test_image_part_is_found_in_chunks_of_any_sizes(sizes: list[int]) -> None:
    body, sniffer = form(MASK, IMAGE), FormSniffer(BOUNDARY)
    while body and not sniffer.done:
        for size in sizes:
            sniffer.feed(body[:size])
            body = body[size:]
    assert sniffer.header is not None
    assert sniffer.header.pixels == 640 * 480


@pytest.mark.parametrize(
    "body",
    [
        form(MASK),
        form(field(b"image", b"")),
        form(field(b"image", png(640, 480)[:20])),
        form(part(b'Content-Disposition: form-data; name="file"; filename="name=image"', png(1, 1))),
        b"--fence\r\n" + b"X: y\r\n" * 5000,
    ],
    ids=["no image part", "empty image part", "cut short", "name in a file name", "endless part headers"],
)
@pytest.mark.parametrize("chunk_bytes", [1, 100_000])
def test_form_without_a_picture_header_is_left_to_the_service(body: bytes, chunk_bytes: int) -> None:
    sniffer = FormSniffer(BOUNDARY)
    feed(sniffer, body, chunk_bytes)
    assert sniffer.done
    assert sniffer.header is None


def test_sniffer_is_done_at_the_end_of_the_form() -> None:
    sniffer = FormSniffer(BOUNDARY)
    sniffer.feed(form(MASK) + b"\r\n" + IMAGE)
    assert sniffer.header is None


@given(st.binary(max_size=600))
def test_arbitrary_bytes_raise_only_problems(body: bytes) -> None:
    with suppress(Problem):
        feed(FormSniffer(BOUNDARY), b'--fence\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + body, 50)


def test_image_part_of_another_format_is_refused() -> None:
    sniffer = FormSniffer(BOUNDARY)
    with pytest.raises(Problem) as caught:
        sniffer.feed(form(field(b"image", b"#!/bin/sh\necho not a picture\n" * 4)))
    assert caught.value.code == Code.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", ""])
def test_bare_picture_is_read(content_type: str) -> None:
    sniffer = sniffer_for(Headers({"Content-Type": content_type}))
    assert sniffer is not None
    feed(sniffer, png(640, 480), 3)
    assert sniffer.done
    assert sniffer.header is not None
    assert sniffer.header.pixels == 640 * 480


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data"])
def test_other_media_types_have_no_sniffer(content_type: str) -> None:
    assert sniffer_for(Headers({"Content-Type": content_type})) is None


@pytest.mark.parametrize("chunk_bytes", [1, 64, 100_000])
def test_all_pictures_are_known_at_the_end_of_the_form(chunk_bytes: int) -> None:
    broken = field(b"image", b"#!/bin/sh\necho not a picture\n" * 4)
    body = form(MASK, IMAGE, field(b"other", png(9, 9)), broken, field(b"image", png(1000, 1000, padding=90)))
    sniffer = FormSniffer(BOUNDARY)
    feed(sniffer, body, chunk_bytes)
    assert sniffer.complete
    assert sorted(header.pixels for header in sniffer.headers) == [64 * 48, 640 * 480, 1_000_000]
    assert sniffer.header is not None
    assert sniffer.header.pixels == 640 * 480
