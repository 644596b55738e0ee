"""The command as it is run: with the shipped weights in process, and against a real service."""

import csv
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from services.hra_screening.app import create
from sightline.cli.faults import Fault
from sightline.cli.main import build_app
from sightline.cli.screening.journal import NAME
from tests.cli.screening.conftest import draw

Serve = Callable[[ASGIApp], str]
Start = Callable[..., "Popen[str]"]

PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")


@pytest.fixture
def server(serve: Serve) -> str:
    url = serve(create())
    give_up_at = time.monotonic() + PATIENCE_S
    while httpx2.get(f"{url}/readyz").status_code != 200 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return url


def screen(*arguments: object) -> str:
    result = CliRunner().invoke(build_app(), ["screen", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / NAME).read_text("utf-8").splitlines()[1:]]


def check(out: Path, pictures: Path) -> None:
    found = rows(out)
    assert len(found) == 8
    assert {name for name, row in found.items() if row["error_code"]} == {"broken.jpg", "empty.png"}
    assert found["z copy.png"]["copy_of"] == "a.png"
    assert found["z copy.png"]["arms"] == found["a.png"]["arms"] != ""
    assert all(len(row["sha256"]) == 64 for row in found.values())
    assert (out / "report.html").stat().st_size > 5000


def test_a_folder_is_screened_here(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = screen(pictures, "-o", out, "--near-duplicates")
    assert "8 files" in said
    assert "2 failed, 1 copies" in said
    check(out, pictures)
    found = rows(out)
    assert found["a.png"]["near_duplicates"] == found["z copy.png"]["near_duplicates"] == "1"
    assert found["b.jpg"]["near_duplicates"] == ""


def test_a_folder_is_screened_by_a_server_as_it_is_here(pictures: Path, tmp_path: Path, server: str) -> None:
    screen(pictures, "-o", tmp_path / "there", "--url", server)
    check(tmp_path / "there", pictures)
    screen(pictures, "-o", tmp_path / "here")
    here, there = rows(tmp_path / "here"), rows(tmp_path / "there")
    assert here["b.jpg"]["sha256"] == there["b.jpg"]["sha256"]
    assert float(here["b.jpg"]["arms"]) == pytest.approx(float(there["b.jpg"]["arms"]), abs=1e-4)


def test_a_second_run_asks_for_new_and_changed_files_alone(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    screen(pictures, "-o", out)
    before = journal(out)
    draw(pictures / "new.png", 50)
    draw(pictures / "e.png", 51)
    (pictures / "b.jpg").unlink()
    assert "6 were done before" in screen(pictures, "-o", out)
    assert [line["file"] for line in journal(out)[len(before) :]] == ["e.png", "new.png"]
    assert "b.jpg" not in rows(out)


def test_another_threshold_needs_another_folder_or_a_new_start(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    screen(pictures, "-o", out)
    with pytest.raises(Fault, match="--anew"):
        screen(pictures, "-o", out, "--threshold", "0.5")
    screen(pictures, "-o", out, "--threshold", "0.0", "--anew")
    assert rows(out)["a.png"]["decision"] != "abstain"


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no pictures"):
        screen(tmp_path, "-o", tmp_path / "out")


def test_an_address_without_screening_is_told(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.cli.screening.asking.PATIENCE_S", 0.0)
    with pytest.raises(Fault, match="not to be had"):
        screen(pictures, "-o", tmp_path / "out", "--url", "http://127.0.0.1:9")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_tried_again(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.png").chmod(0)
    screen(pictures, "-o", tmp_path / "out")
    assert rows(tmp_path / "out")["a.png"]["error_code"] == "unreadable_file"
    (pictures / "a.png").chmod(0o600)
    screen(pictures, "-o", tmp_path / "out")
    assert rows(tmp_path / "out")["a.png"]["error_code"] == ""


def test_a_killed_run_goes_on_without_doing_anything_twice(tmp_path: Path, started: Start) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    for seed in range(150):
        draw(folder / f"{seed:03}.png", seed)
    command = [sys.executable, "-m", "sightline.cli", "screen", str(folder), "-o", str(out)]
    first = started(*command)
    give_up_at = time.monotonic() + PATIENCE_S
    while not ((out / NAME).exists() and len(journal_lines(out)) > 20) and time.monotonic() < give_up_at:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = len(journal_lines(out)) - 1
    assert 0 < done < 150
    assert not (out / "results.csv").exists()
    assert started(*command).wait(120) == 0
    files = [line["file"] for line in journal(out)]
    assert len(files) == len(set(files)) == 150
    assert len(rows(out)) == 150


def journal_lines(out: Path) -> list[str]:
    """The whole ones: the last may be torn."""
    return (out / NAME).read_text("utf-8").split("\n")[:-1]
