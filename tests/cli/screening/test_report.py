import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.cli.interruption import StopRequest
from sightline.cli.screening.finding import Finding, Trouble
from sightline.cli.screening.report import Report, write_report
from tests.cli.screening.conftest import draw

MakeFinding = Callable[..., Finding]


def written(folder: Path, findings: list[Finding], *, thumbnails: bool = False) -> str:
    paths = {finding.file: folder / "pictures" / finding.file for finding in findings}
    report = Report(folder / "pictures", "m@1+abc", "2026-01-01 00:00 UTC", thumbnails)
    write_report(folder, findings, paths, report, StopRequest())
    return (folder / "report.html").read_text("utf-8")


def data_in(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_report_needs_nothing_but_itself(tmp_path: Path, make_finding: MakeFinding) -> None:
    html = written(tmp_path, [make_finding()])
    assert "default-src 'none'" in html
    assert not re.search(r"https?://|@import|src=\"|<link", html)


def test_its_data_are_the_findings(tmp_path: Path, make_finding: MakeFinding) -> None:
    trouble = Trouble(code="unreadable_image", detail="Broken.")
    failed = Finding(file="broken.jpg", size_bytes=1, modified_ns=1, error=trouble)
    data = data_in(written(tmp_path, [make_finding("deep/a b.png", near_duplicates=3), failed]))
    assert data["threshold"] == 0.85
    first, second = data["rows"]
    assert (first["file"], first["link"], first["near"]) == ("deep/a b.png", "pictures/deep/a%20b.png", 3)
    assert first["chances"][0] == 0.9
    assert second["error"] == "Broken. (unreadable_image)"
    assert data["thumbnails"] == {}


def test_a_file_name_cannot_break_out_of_the_data(tmp_path: Path, make_finding: MakeFinding) -> None:
    name = "</script><script>alert(1)</script>.png"
    html = written(tmp_path, [make_finding(name)])
    assert "<script>alert" not in html
    assert data_in(html)["rows"][0]["file"] == name


def test_thumbnails_are_small_and_inside(tmp_path: Path, make_finding: MakeFinding) -> None:
    draw(tmp_path / "pictures" / "a.png", 1, height=400, width=300)
    findings = [make_finding("a.png"), make_finding("gone.png", sha256="1" * 64)]
    thumbnails = data_in(written(tmp_path, findings, thumbnails=True))["thumbnails"]
    assert list(thumbnails) == ["0" * 64]
    assert thumbnails["0" * 64].startswith("data:image/jpeg;base64,")
    assert len(thumbnails["0" * 64]) < 8000
