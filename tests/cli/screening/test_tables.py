import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from sightline.api.screening import CATEGORIES
from sightline.cli.screening.finding import Finding, Trouble
from sightline.cli.screening.tables import COLUMNS, csv_of, write_tables

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


def test_lines_are_json_without_what_only_the_journal_needs(tmp_path: Path, make_finding: MakeFinding) -> None:
    write_tables(tmp_path, [make_finding("a.png"), make_finding("ü.png", copy_of="a.png")])
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == ["a.png", "ü.png"]
    assert lines[1]["copy_of"] == "a.png"
    assert "modified_ns" not in lines[0]
    assert not list(tmp_path.glob("*.part"))
