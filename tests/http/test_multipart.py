from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.api.problems import Code, Problem
from sightline.http.multipart import (
    MAX_PARTS,
    FormField,
    FormLimits,
    FormParser,
    MultipartError,
    PartHeaders,
    boundary_of,
    read_form,
)

BOUNDARY = b"fence"
CONTENT_TYPE = "multipart/form-data; boundary=fence"
LIMITS = FormLimits(max_files=2, max_fields=2, max_field_bytes=10)

Part = tuple[bytes, bytes]


class Recorder:
    """Keeps the parts of a form by name, with their contents."""

    def __init__(self) -> None:
        self.parts: list[tuple[PartHeaders, bytearray]] = []
        self.ended = 0

    def begin_part(self, part: PartHeaders) -> None:
        self.parts.append((part, bytearray()))

    def part_data(self, data: bytes) -> None:
        self.parts[-1][1].extend(data)

    def end_part(self) -> None:
        self.ended += 1

    @property
    def contents(self) -> list[Part]:
        return [(part.name or b"", bytes(content)) for part, content in self.parts]


def form(parts: Sequence[Part], *, filename: str | None = None) -> bytes:
    file = b"" if filename is None else b'; filename="%s"' % filename.encode()
    return (
        b"".join(
            b'--fence\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, file, content)
            for name, content in parts
        )
        + b"--fence--\r\n"
    )


def parsed(body: bytes, cuts: Sequence[int] = ()) -> tuple[Recorder, bool]:
    recorder = Recorder()
    parser = FormParser(BOUNDARY, recorder)
    for start, end in pairwise([0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]):
        parser.feed(body[start:end])
    return recorder, parser.complete


contents = st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--", b"x", b"--fenc", b"\r\n--", b"ab"])).map(b"".join)


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), contents), max_size=4), st.lists(st.integers(0, 400)))
def test_parts_come_out_as_they_were_sent_however_they_are_cut(parts: list[Part], cuts: list[int]) -> None:
    recorder, complete = parsed(form(parts), cuts)
    assert (recorder.contents, recorder.ended, complete) == (parts, len(parts), True)


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"to be skipped\r\n", b"--fenc\r\n", b"x" * 1000 + b"\r\n"])
@pytest.mark.parametrize("step", [1, 1000])
def test_preamble_and_epilogue_are_skipped(preamble: bytes, step: int) -> None:
    body = preamble + form([(b"a", b"1")]) + b"more\r\n--fence\r\n"
    recorder, complete = parsed(body, range(0, len(body), step))
    assert (recorder.contents, complete) == ([(b"a", b"1")], True)


def test_form_without_its_last_delimiter_is_not_complete() -> None:
    body = form([(b"a", b"1")])
    assert not any(parsed(body[:length])[1] for length in range(len(body) - 2))


@pytest.mark.parametrize(
    "body",
    [b"--fence\r\nno header\r\n\r\n", b"--fence!\r\n", b"--fence\r\nA: b\rc", form([(b"a", b"")] * (MAX_PARTS + 1))],
)
def test_body_that_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(MultipartError):
        parsed(body)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (CONTENT_TYPE, b"fence"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=" + "x" * 257, None),
        ("multipart/mixed; boundary=fence", None),
        ("image/png", None),
        ("", None),
    ],
)
def test_boundary_is_that_of_a_form_only(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


async def read(body: bytes, content_type: str = CONTENT_TYPE) -> list[FormField]:
    async def chunks() -> AsyncIterator[bytes]:
        yield body[:20]
        yield body[20:]

    return await read_form(chunks(), content_type, LIMITS)


@pytest.mark.anyio
async def test_form_is_read_into_fields() -> None:
    body = form([(b"image", b"123")], filename="a.png")[:-11] + form([(b"word", "naïve".encode()), (b"\xff", b"")])
    assert await read(body) == [
        FormField("image", "a.png", b"123"),
        FormField("word", None, "naïve".encode()),
        FormField("\xff", None, b""),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (form([(b"a", b"1")] * 3), "Too many fields"),
        (form([(b"a", b"1")] * 3, filename="f"), "Too many files"),
        (form([(b"a", b"1" * 11)]), "is larger than"),
        (form([(b"a", b"1")])[:-10], "ends before"),
        (b"--fence\r\nContent-Disposition: form-data\r\n\r\n1\r\n--fence--\r\n", "must give its name"),
        (b"--fence\r\n\0: 1\r\n", "not valid"),
    ],
)
async def test_form_beyond_its_limits_or_broken_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(Problem, match=fault) as caught:
        await read(body)
    assert caught.value.code is Code.INVALID_REQUEST


@pytest.mark.anyio
async def test_form_without_boundary_is_refused() -> None:
    with pytest.raises(Problem, match="needs a boundary"):
        await read(form([]), "multipart/form-data")


@pytest.mark.parametrize(
    ("field", "empty"),
    [
        (FormField("a", None, b" \r\n"), True),
        (FormField("a", None, b"x"), False),
        (FormField("a", "", b""), True),
        (FormField("a", "", b" "), False),
        (FormField("a", "empty.png", b""), False),
    ],
)
def test_field_is_empty_unless_a_file_was_chosen_or_text_typed(field: FormField, empty: bool) -> None:
    assert field.is_empty is empty
