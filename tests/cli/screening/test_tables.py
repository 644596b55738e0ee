import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from sightline.api.screening import CATEGORIES
from sightline.cli.screening.finding import Finding, Trouble
from sightline.cli.screening.tables import COLUMNS, csv_of, harmless, write_tables

MakeFinding = Callable[..., Finding]


def rows(*findings: Finding) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(csv_of(findings))))


def test_a_row_has_every_probability(make_finding: MakeFinding) -> None:
    (row,) = rows(make_finding(notes=["first-frame-only", "icc-ignored"]))
    assert list(row) == list(COLUMNS)
    assert sum(float(row[category]) for category in CATEGORIES) == pytest.approx(1, abs=1e-4)
    assert (row["decision"], row["notes"]) == ("arms", "first-frame-only icc-ignored")


def test_trouble_has_its_columns() -> None:
    trouble = Trouble(code="unreadable_image", detail="Truncated, or damaged.")
    (row,) = rows(Finding(file="x.png", size_bytes=3, modified_ns=1, error=trouble))
    assert (row["error_code"], row["error"], row["decision"]) == ("unreadable_image", "Truncated, or damaged.", "")


@pytest.mark.parametrize("name", ["=cmd()|'/c calc'!A1.png", "+1.png", "-1.png", "@x.png"])
def test_a_file_name_is_never_a_formula(make_finding: MakeFinding, name: str) -> None:
    (row,) = rows(make_finding(name))
    assert row["file"] == f"./{name}"


NAMES = [
    *("=1.png", " =1.png", "\t=1.png", "\n=1.png", "\r\n@1.png", "\x1b=1.png", "\uff1d1.png", "\uff0b1", "\uff0d1"),
    *("\uff201", "\u22121", "\u200b=1", "\u00a0=1", "'=1", '"=1"', "a;=1", "a,=1", "a, =1", "a\t=1", "a|+1", "a\n-1"),
    *('a;"=1"', "a;'=1", 'a";=1;"', "a;;=1", "a;==1", "a =1.png", "a; \uff1d1", "=\uff1d", "-", "@", "a,\uff0b1", ""),
]


@pytest.mark.parametrize("separator", [",", ";", "|", "\t", "\n", "\r"])
@pytest.mark.parametrize("quoted", [True, False], ids=["quotes respected", "quotes ignored"])
def test_no_cell_is_a_formula_however_the_file_is_cut(
    make_finding: MakeFinding, separator: str, *, quoted: bool
) -> None:
    trouble = Trouble(code="=1", detail="said;=1")
    for name in NAMES:
        text = csv_of([make_finding(name, copy_of=name, notes=[name]), make_finding("x", error=trouble)])
        reader = csv.reader(StringIO(text, newline=""), delimiter=separator) if quoted else None
        cells = [cell for row in reader for cell in row] if reader else text.split(separator)
        for cell in cells:
            assert cell.strip("\"' \t\r\n\u200b\u00a0\x1b")[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20\u2212"), name


def test_harmless_names_stay_as_they_are_and_different_ones_differ() -> None:
    for name in ("a - b.png", "a-b, c+d.png", "mail@example.org.png", "a=b.png", "x;y.png", "Holiday (1).jpg"):
        assert harmless(name) == name
    assert len({harmless(name) for name in NAMES}) == len(NAMES)


def test_lines_are_json_without_what_only_the_journal_needs(tmp_path: Path, make_finding: MakeFinding) -> None:
    write_tables(tmp_path, [make_finding("a.png"), make_finding("ü.png", copy_of="a.png")])
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["a.png", "ü.png"]
    assert lines[1]["copy_of"] == "a.png"
    assert "modified_ns" not in lines[0]
    assert not list(tmp_path.glob("*.part"))
