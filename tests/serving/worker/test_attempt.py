"""A stored request reads as it would have read when it came."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.api.problems import Problem
from sightline.inference.predictor import Upload
from sightline.jobs.job import BlobRef, StoredRequest
from sightline.serving.uploads import UploadReader
from sightline.serving.worker.attempt import replay

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n12345\r\n'
    b'--x\r\nContent-Disposition: form-data; name="count"\r\n\r\n3\r\n--x--\r\n'
)


class Options(BaseModel):
    count: Annotated[int, Field(le=9)] = 1
    word: str = ""


DECLARATION = ModelDeclaration(
    name="m",
    title="",
    description="",
    pictures=(PictureField("image", ""),),
    options=Options,
    media_types=("image/png",),
)
READER = UploadReader(DECLARATION, max_pictures=1)


def read(body: bytes, *, content_type: str = "", query: str = "") -> Upload[Options]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    stored = StoredRequest("/v1/m", query, content_type, None, BlobRef("", len(body)))
    return asyncio.run(READER.read(replay(stored, pieces())))


def test_stored_form_is_read_with_its_query() -> None:
    upload = read(FORM, content_type="multipart/form-data; boundary=x", query="count=5&word=na%C3%AFve")
    assert upload == Upload({"image": [b"12345"]}, Options(count=3, word="naïve"))


@pytest.mark.parametrize("content_type", ["image/png", ""])
def test_stored_bare_picture_is_read(content_type: str) -> None:
    assert read(b"1" * 20, content_type=content_type).pictures == {"image": [b"1" * 20]}


def test_stored_empty_body_is_refused() -> None:
    with pytest.raises(Problem, match="missing"):
        read(b"", content_type="image/png")


def test_stored_form_that_is_cut_off_is_refused() -> None:
    with pytest.raises(Problem, match="last boundary"):
        read(FORM[:-10], content_type="multipart/form-data; boundary=x")
