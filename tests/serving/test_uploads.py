"""Reading requests, broken ones above all, without a server."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.types import Message

from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.api.problems import Problem
from sightline.inference.predictor import Upload
from sightline.serving.uploads import UploadReader

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    b"12345\r\n"
    b'--x\r\nContent-Disposition: form-data; name="count"\r\n\r\n3\r\n'
    b'--x\r\nContent-Disposition: form-data; name="words"\r\n\r\none\r\n--x--\r\n'
)


class Options(BaseModel):
    count: Annotated[int, Field(le=9)] = 1
    words: Annotated[list[str], Field(max_length=2)] = []


PICTURES = (PictureField("image", ""), PictureField("more", "", required=False, repeatable=True))
DECLARATION = ModelDeclaration(
    name="m", title="", description="", pictures=PICTURES, options=Options, media_types=("image/png",)
)
READER = UploadReader(DECLARATION, max_pictures=3)


def read(body: bytes, *, content_type: str = "multipart/form-data; boundary=x", query: str = "") -> Upload[Options]:
    return asyncio.run(READER.read(request_of(body, content_type, query)))


def request_of(body: bytes, content_type: str, query: str) -> Request:
    # In pieces, as it comes from a socket.
    pieces = [body[start : start + 50] for start in range(0, len(body), 50)] or [b""]
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": index < len(pieces) - 1}
        for index, piece in enumerate(pieces)
    ]
    headers = [(b"content-type", content_type.encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": query.encode()}

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return Request(scope, receive)


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in parts
    ) + b"--x--\r\n"  # fmt: skip


def test_form_is_read_into_pictures_and_options() -> None:
    assert read(FORM) == Upload({"image": [b"12345"]}, Options(count=3, words=["one"]))


def test_form_fields_override_the_query() -> None:
    upload = read(FORM, query="count=5&words=two&words=three")
    assert upload.options == Options(count=3, words=["one"])
    assert read(b"12345", content_type="", query="count=5&words=two").options == Options(count=5, words=["two"])


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_compressed_body_is_refused_by_its_coding(coding: str) -> None:
    request = request_of(FORM, "multipart/form-data; boundary=x", "")
    request.scope["headers"].append((b"content-encoding", coding.encode()))
    with pytest.raises(Problem, match=coding) as caught:
        asyncio.run(READER.read(request))
    assert caught.value.status == 415


def test_body_that_is_no_picture_is_refused_by_its_type() -> None:
    with pytest.raises(Problem, match="video/mp4") as caught:
        read(b"12345", content_type="video/mp4")
    assert caught.value.status == 415


def test_repeatable_pictures_keep_their_order() -> None:
    upload = read(form(("image", b"1"), ("more", b"2"), ("more", b"3")))
    assert upload.pictures == {"image": [b"1"], "more": [b"2", b"3"]}


def test_empty_repeatable_picture_is_passed_to_the_model() -> None:
    upload = read(form(("image", b"1"), ("more", b"2"), ("more", b"")))
    assert upload.pictures["more"] == [b"2", b""]


NO_FILE = b'filename=""\r\nContent-Type: application/octet-stream'


def browser_form(*parts: tuple[str, bytes, bytes]) -> bytes:
    """Fields as (name, what follows the name, content)."""
    return b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%s"; %s\r\n\r\n%s\r\n' % (name.encode(), more, data)
        for name, more, data in parts
    ) + b"--x--\r\n"  # fmt: skip


PHOTO_PART = ("image", b'filename="a.png"', b"1")


@pytest.mark.parametrize(
    "part",
    [
        ("more", NO_FILE, b""),
        ("image", NO_FILE, b""),
        ("photo", NO_FILE, b""),
        ("more", b"", b""),
        ("image", b"", b""),
        ("count", b"", b""),
        ("count", b"", b" \r\n"),
        ("words", b"", b""),
        ("words", NO_FILE, b""),
        ("submit", b"", b""),
    ],
    ids=lambda part: part if isinstance(part, str) else None,
)
@pytest.mark.parametrize("first", [True, False])
def test_form_field_left_empty_is_absent(part: tuple[str, bytes, bytes], first: bool) -> None:
    parts = [part, PHOTO_PART] if first else [PHOTO_PART, part]
    assert read(browser_form(*parts)) == Upload({"image": [b"1"]}, Options())


def test_empty_field_overrides_neither_query_nor_other_values() -> None:
    body = browser_form(PHOTO_PART, ("count", b"", b""), ("words", b"", b""), ("words", b"", b"two"))
    assert read(body, query="count=5&words=one").options == Options(count=5, words=["two"])


@pytest.mark.parametrize("query", ["count=", "count", "count=%20", "words=", "other=&count="])
def test_query_parameters_without_a_value_are_absent(query: str) -> None:
    assert read(b"12345", content_type="image/png", query=query).options == Options()


@pytest.mark.parametrize("name", ["file", "photo", "image[]", "Image", "x" * 2000])
@pytest.mark.parametrize("data", [b"1", bytes(range(128, 256))], ids=["text", "bytes"])
def test_file_in_an_unknown_field_is_refused_with_the_accepted_names(name: str, data: bytes) -> None:
    with pytest.raises(Problem) as caught:
        read(form((name, data)))
    assert f"no field '{name[:64]}'" in caught.value.detail
    assert "accepted as 'image' and 'more'" in caught.value.detail
    assert caught.value.facts["fields"] == ["count", "image", "more", "words"]
    assert caught.value.status == 400


@pytest.mark.parametrize("query", ["image=1", "cuont=2"])
def test_unknown_query_parameter_is_named(query: str) -> None:
    with pytest.raises(Problem, match=f"no query parameter '{query[:5]}'"):
        read(b"12345", content_type="image/png", query=query)


def test_url_encoded_form_is_refused_with_the_right_type() -> None:
    with pytest.raises(Problem, match="multipart/form-data"):
        read(b"image=photo.jpg&count=3", content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (form(("image", b"")), "'image' is empty"),
        (browser_form(("image", NO_FILE, b"")), "'image' is missing"),
        (form(("image", b"1"), *[("more", b"2")] * 3), "Too many files"),
        (FORM.replace(b"3\r\n", b"3" * (1 << 20) + b"33\r\n"), "is larger than"),
        (FORM.replace(b'"count"', b'"cuont"'), "no field 'cuont'"),
        (FORM.replace(b'; name="count"', b""), "name"),
        (FORM[:80], "ends before"),
        (FORM[:-10], "ends before"),
        (b"", "ends before"),
        (b"--x--", "missing"),
    ],
    ids=[
        "empty-file",
        "no-file",
        "files",
        "size",
        "unknown",
        "unnamed",
        "cut-in-header",
        "cut-in-part",
        "nothing",
        "empty",
    ],
)
def test_invalid_form_is_refused_by_its_fault(body: bytes, fault: str) -> None:
    with pytest.raises(Problem, match=fault):
        read(body)


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "application/json"])
def test_form_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(Problem):
        read(FORM, content_type=content_type)


Edit = tuple[int, int, bytes]
edits = st.lists(st.tuples(st.integers(0, len(FORM)), st.integers(0, 40), st.binary(max_size=6)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(edits)
def test_broken_form_is_read_or_refused(changes: Sequence[Edit]) -> None:
    body = FORM
    for start, length, replacement in changes:
        body = body[:start] + replacement + body[start + length :]
    outcome: Any
    try:
        outcome = read(body)
    except Problem as problem:
        outcome = problem
    assert isinstance(outcome, Upload) or outcome.status in (400, 413, 415)
