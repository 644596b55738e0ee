import csv
import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from sightline.api.screening import CATEGORIES
from sightline.cli.interruption import StopRequest
from sightline.cli.screening.files import ListedFile
from sightline.cli.screening.journal import FileError, FileResult
from sightline.cli.screening.results import (
    COLUMNS,
    ReportInfo,
    escape_formulas,
    results_csv,
    write_report,
    write_tables,
)
from tests.cli.screening.conftest import draw

MakeFileResult = Callable[..., FileResult]


def rows(*results: FileResult) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(results_csv(results))))


def test_a_row_has_every_probability(make_file_result: MakeFileResult) -> None:
    (row,) = rows(make_file_result(notes=["first-frame-only", "icc-ignored"]))
    assert list(row) == list(COLUMNS)
    assert sum(float(row[category]) for category in CATEGORIES) == pytest.approx(1, abs=1e-4)
    assert (row["decision"], row["notes"]) == ("arms", "first-frame-only icc-ignored")


def test_errors_have_their_columns() -> None:
    file_error = FileError(code="unreadable_image", detail="Truncated, or damaged.")
    (row,) = rows(FileResult(file="x.png", size_bytes=3, modified_ns=1, error=file_error))
    assert (row["error_code"], row["error"], row["decision"]) == ("unreadable_image", "Truncated, or damaged.", "")


@pytest.mark.parametrize("name", ["=cmd()|'/c calc'!A1.png", "+1.png", "-1.png", "@x.png"])
def test_a_file_name_is_never_a_formula(make_file_result: MakeFileResult, name: str) -> None:
    (row,) = rows(make_file_result(name))
    assert row["file"] == f"./{name}"


NAMES = [
    *("=1.png", " =1.png", "\t=1.png", "\n=1.png", "\r\n@1.png", "\x1b=1.png", "\uff1d1.png", "\uff0b1", "\uff0d1"),
    *("\uff201", "\u22121", "\u200b=1", "\u00a0=1", "'=1", '"=1"', "a;=1", "a,=1", "a, =1", "a\t=1", "a|+1", "a\n-1"),
    *('a;"=1"', "a;'=1", 'a";=1;"', "a;;=1", "a;==1", "a =1.png", "a; \uff1d1", "=\uff1d", "-", "@", "a,\uff0b1", ""),
]


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", "\n", "\r"])
@pytest.mark.parametrize("quoted", [True, False], ids=["quotes respected", "quotes ignored"])
def test_no_cell_is_a_formula_however_the_file_is_cut(
    make_file_result: MakeFileResult, separator: str, *, quoted: bool
) -> None:
    file_error = FileError(code="=1", detail="said;=1")
    for name in NAMES:
        text = results_csv(
            [make_file_result(name, copy_of=name, notes=[name]), make_file_result("x", error=file_error)]
        )
        reader = csv.reader(StringIO(text, newline=""), delimiter=separator) if quoted else None
        cells = [cell for row in reader for cell in row] if reader else text.split(separator)
        for cell in cells:
            assert cell.strip("\"' \t\r\n\u200b\u00a0\x1b")[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212"), name


def test_harmless_names_stay_as_they_are_and_different_ones_differ() -> None:
    for name in ("a - b.png", "a-b, c+d.png", "mail@example.org.png", "a=b.png", "x;y.png", "Holiday (1).jpg"):
        assert escape_formulas(name) == name
    assert len({escape_formulas(name) for name in NAMES}) == len(NAMES)


def test_lines_are_json_without_what_only_the_journal_needs(tmp_path: Path, make_file_result: MakeFileResult) -> None:
    write_tables(tmp_path, [make_file_result("a.png"), make_file_result("ü.png", copy_of="a.png")])
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["a.png", "ü.png"]
    assert lines[1]["copy_of"] == "a.png"
    assert "modified_ns" not in lines[0]
    assert not list(tmp_path.glob("*.part"))


def written(folder: Path, results: list[FileResult], *, thumbnails: bool = False) -> str:
    files = {result.file: ListedFile(folder / "pictures" / result.file, result.file) for result in results}
    report = ReportInfo("pictures", "m@1+abc", "2026-01-01 00:00 UTC", thumbnails)
    write_report(folder, results, files, report, StopRequest())
    return (folder / "report.html").read_text("utf-8")


def data_in(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_report_needs_nothing_but_itself(tmp_path: Path, make_file_result: MakeFileResult) -> None:
    html = written(tmp_path, [make_file_result()])
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|src=\"|<link", html)


def test_report_contains_the_results(tmp_path: Path, make_file_result: MakeFileResult) -> None:
    file_error = FileError(code="unreadable_image", detail="Broken.")
    failed = FileResult(file="broken.jpg", size_bytes=1, modified_ns=1, error=file_error)
    data = data_in(written(tmp_path, [make_file_result("deep/a b.png", near_duplicates=3), failed]))
    assert data["threshold"] == 0.85
    first, second = data["rows"]
    assert (first["file"], first["link"], first["near"]) == ("deep/a b.png", "pictures/deep/a%20b.png", 3)
    assert first["chances"][0] == 0.9
    assert second["error"] == "Broken. (unreadable_image)"
    assert data["thumbnails"] == {}


def test_a_file_name_cannot_break_out_of_the_data(tmp_path: Path, make_file_result: MakeFileResult) -> None:
    name = "</script><script>alert(1)</script>.png"
    html = written(tmp_path, [make_file_result(name)])
    assert "<script>alert" not in html
    assert data_in(html)["rows"][0]["file"] == name


def test_thumbnails_are_small_and_inside(tmp_path: Path, make_file_result: MakeFileResult) -> None:
    draw(tmp_path / "pictures" / "a.png", 1, height=400, width=300)
    results = [make_file_result("a.png"), make_file_result("gone.png", sha256="1" * 64)]
    thumbnails = data_in(written(tmp_path, results, thumbnails=True))["thumbnails"]
    assert list(thumbnails) == ["0" * 64]
    assert thumbnails["0" * 64].startswith("data:image/jpeg;base64,")
    assert len(thumbnails["0" * 64]) < 8000
