import pytest
from starlette.datastructures import Headers

from sightline.api.problems import Code, Problem
from sightline.http.request_headers import (
    bearer_token,
    deadline_s,
    declared_bytes,
    media_type_of,
    require_uncompressed,
)


@pytest.mark.parametrize(("length", "size_bytes"), [("0", 0), ("1500", 1500), ("", 0), ("-1", 0), ("1e3", 0), ("²", 0)])
def test_declared_bytes_of_content_length(length: str, size_bytes: int) -> None:
    assert declared_bytes(Headers({"Content-Length": length})) == size_bytes


def test_declared_bytes_without_content_length() -> None:
    assert declared_bytes(Headers({})) == 0


def test_media_type_has_no_parameters() -> None:
    assert media_type_of(Headers({"Content-Type": "Image/PNG ; q=1"})) == "image/png"
    assert media_type_of(Headers({})) == ""


@pytest.mark.parametrize("coding", ["", "identity", " Identity "])
def test_uncompressed_bodies_are_accepted(coding: str) -> None:
    require_uncompressed(Headers({"Content-Encoding": coding}))
    require_uncompressed(Headers({}))


def test_compressed_body_is_refused_by_its_coding() -> None:
    with pytest.raises(Problem, match="'gzip'") as caught:
        require_uncompressed(Headers({"Content-Encoding": "GZIP"}))
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(("text", "seconds"), [("1500", 1.5), ("0", 0.0), ("999999999", 999_999.999)])
def test_deadline_is_read_in_milliseconds(text: str, seconds: float) -> None:
    assert deadline_s(Headers({"X-Sightline-Deadline-Ms": text})) == seconds


def test_deadline_may_be_absent() -> None:
    assert deadline_s(Headers({})) is None


@pytest.mark.parametrize("text", ["soon", "-5", "1e3", "1.5", "nan", "inf", "", "²", "9" * 40])
def test_deadline_must_be_a_whole_number(text: str) -> None:
    with pytest.raises(Problem) as caught:
        deadline_s(Headers({"X-Sightline-Deadline-Ms": text}))
    assert caught.value.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("value", ["Bearer two", "bearer  two ", "BEARER two"])
def test_bearer_token(value: str) -> None:
    assert bearer_token(Headers({"Authorization": value})) == "two"


@pytest.mark.parametrize("value", ["", "two", "Basic two", "Bearer", "Bearer  "])
def test_bearer_token_is_none_without_one(value: str) -> None:
    assert bearer_token(Headers({"Authorization": value})) is None
    assert bearer_token(Headers({})) is None


def test_bearer_token_is_none_where_there_are_two() -> None:
    headers = Headers(raw=[(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")])
    assert bearer_token(headers) is None
