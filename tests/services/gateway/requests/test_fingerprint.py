import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.requests.fingerprint import digest_for, fingerprint

Part = tuple[str, str | None, bytes]  # its field, its file's name, its content


def form(parts: list[Part], boundary: str) -> bytes:
    lines = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        lines += head.encode() + content + b"\r\n"
    return lines + f"--{boundary}--\r\n".encode()


def digest(body: bytes, content_type: str, cuts: list[int] | None = None) -> str:
    found = digest_for(content_type)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts or []), len(body)]
    for start, end in pairwise(edges):
        found.feed(body[start:end])
    return fingerprint(found, body_sha256=hashlib.sha256(body).hexdigest(), model="m", query="", accept=None)


def form_digest(parts: list[Part], boundary: str = "x", cuts: list[int] | None = None) -> str:
    return digest(form(parts, boundary), f"multipart/form-data; boundary={boundary}", cuts)


FORM: list[Part] = [("image", "a.png", b"\x89PNG\r\n\r\n--"), ("strength", None, b"2")]

contents = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"x", b"--x", b"\r\n--", b"ab"])).map(b"".join)
parts = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, "", "f"]), contents), max_size=4)


@given(parts, st.lists(st.integers(0, 400), max_size=8))
def test_fingerprint_ignores_boundary_and_chunks(parts: list[Part], cuts: list[int]) -> None:
    # Content with a delimiter in it would be another form.
    assert form_digest(parts, "long-boundary", cuts) == form_digest(parts, "another-one-1")


@given(parts, parts)
def test_fingerprint_differs_for_other_parts(one: list[Part], other: list[Part]) -> None:
    same = filled_in(one) == filled_in(other)
    assert (form_digest(one, "boundary") == form_digest(other, "boundary")) == same


def filled_in(parts: list[Part]) -> list[tuple[str, bool, bytes]]:
    """Returns the parts without empty fields and without the names of files."""
    return [(name, file is not None, body) for name, file, body in parts if body or file]


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), max_size=8))
def test_fingerprint_ignores_empty_fields(cuts: list[int]) -> None:
    browsers: list[Part] = [("mask", "", b""), FORM[0], ("threshold", None, b""), FORM[1], ("image", "", b"")]
    assert form_digest(browsers, "boundary", cuts) == form_digest(FORM)
    assert form_digest([*FORM, ("mask", "empty.png", b"")]) != form_digest(FORM)


def test_fingerprint_ignores_file_names_but_not_their_presence() -> None:
    named = [("image", "b.png", FORM[0][2]), FORM[1]]
    text = [("image", None, FORM[0][2]), FORM[1]]
    assert form_digest(named) == form_digest(FORM) != form_digest(text)


def test_fingerprint_differs_for_a_truncated_form() -> None:
    whole = form(FORM, "x")
    closed = len(whole) - len(b"\r\n")  # the line break after the last delimiter is optional
    digests = [digest(whole[:length], "multipart/form-data; boundary=x") for length in range(len(whole) + 1)]
    assert len(set(digests)) == closed + 1
    assert len(set(digests[closed:])) == 1


@pytest.mark.parametrize("size_bytes", [10, 20_000, 200_000])
def test_malformed_form_is_identified_by_its_bytes(size_bytes: int) -> None:
    noise = b"--x" + bytes(size_bytes)
    content_type = "multipart/form-data; boundary=x"
    assert digest(noise, content_type) == digest(noise, content_type, [5, 16_000, 16_390, 17_000])
    assert digest(noise, content_type) != digest(noise + b"!", content_type)


def test_fingerprint_of_bare_bodies_differs_by_bytes_and_type() -> None:
    assert digest(b"ab", "image/png", [1]) == digest(b"ab", "image/png; charset=x")
    assert len({digest(b"ab", "image/png"), digest(b"ab", "image/webp"), digest(b"a", "image/png")}) == 3


def test_fingerprint_covers_model_query_and_accept() -> None:
    usual = {"model": "inpaint", "query": "a=1", "accept": "image/png"}

    def found(**changed: str | None) -> str:
        return fingerprint(digest_for("image/png"), body_sha256="", **{**usual, **changed})  # type: ignore[arg-type]

    assert found() == found()
    assert len({found(), found(model="hoi"), found(query="a=2"), found(accept=None), found(accept="")}) == 5
