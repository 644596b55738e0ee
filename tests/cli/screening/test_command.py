"""The command as it is run: with the shipped weights in process, and against a real service."""

import csv
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from services.hra_screening.app import create
from sightline.cli.app import build_app
from sightline.cli.output import CommandError
from sightline.cli.screening.journal import NAME
from tests.cli.batch.test_sources import copy_to_store
from tests.cli.screening.conftest import draw
from tests.cli.scripted_server import ScriptedServer
from tests.imaging import hostile
from tests.s3_server import s3_environment, s3_server

Serve = Callable[[ASGIApp], str]
Start = Callable[..., "Popen[str]"]

PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def on_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")


@pytest.fixture
def service(serve: Serve) -> str:
    url = serve(create())
    give_up_at = time.monotonic() + PATIENCE_S
    while httpx2.get(f"{url}/readyz").status_code != 200 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return url


def screen(*arguments: object, exit_code: int = 3) -> str:
    """Some of the pictures are broken unless a test says otherwise."""
    result = CliRunner().invoke(build_app(), ["screen", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code
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


def test_folder_is_screened_in_this_process(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = screen(pictures, "-o", out, "--near-duplicates")
    assert "8 files" in said
    assert "2 failed, 1 copies" in said
    check(out, pictures)
    found = rows(out)
    assert found["a.png"]["near_duplicates"] == found["z copy.png"]["near_duplicates"] == "1"
    assert found["b.jpg"]["near_duplicates"] == ""


def test_server_screens_a_folder_like_this_process(pictures: Path, tmp_path: Path, service: str) -> None:
    screen(pictures, "-o", tmp_path / "there", "--url", service)
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
    with pytest.raises(CommandError, match="--anew"):
        screen(pictures, "-o", out, "--threshold", "0.5")
    screen(pictures, "-o", out, "--threshold", "0.0", "--anew")
    assert rows(out)["a.png"]["decision"] != "abstain"


def test_left_out_files_are_counted(pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.jpg").unlink()
    (pictures / "empty.png").unlink()
    (pictures / "film.MP4").write_bytes(b"x")
    (pictures / "link.png").symlink_to(tmp_path / "elsewhere.png")
    said = screen(pictures, "-o", tmp_path / "out", exit_code=0)
    assert "Left out 2 files by suffix: 1 .mp4, 1 .txt" in said
    assert "1 link out of the folder not followed" in said
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "1 .mp4, 1 .txt" in html
    assert "link out of the folder" in html


def test_a_picture_that_takes_too_long_is_journaled_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_MAX_DECODE_S", "0.5")
    folder = tmp_path / "pictures"
    for seed in range(2):
        draw(folder / f"{seed}.png", seed)
    (folder / "hostile.png").write_bytes(hostile.png(surplus_mb=5000))
    assert re.search("3 files: . to review, 1 failed", screen(folder, "-o", tmp_path / "out", "--thumbnails"))
    assert rows(tmp_path / "out")["1.png"]["decision"]
    failed = rows(tmp_path / "out")["hostile.png"]
    assert (failed["error_code"], failed["error"][:40]) == (
        "unreadable_image",
        "The picture takes too long to decode: mo",
    )
    assert "3 were done before" in screen(folder, "-o", tmp_path / "out")


def test_names_of_any_bytes_come_through(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path) + b"/pictures \xff\n"
    picture = draw(tmp_path / "a.png", 1).read_bytes()
    for name in (b"\xff.png", b"\\xff.png", b"deep \xfe/two\nlines.png", b"<script>=1.png", b"=1.png", b"\x1b;=1.png"):
        path = Path(os.fsdecode(root + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/out \xff"))
    said = screen(Path(os.fsdecode(root)), "-o", out, "--thumbnails", exit_code=0)
    found = rows(out)
    assert "6 files" in said
    assert len(found) == 6
    assert len({row["sha256"] for row in found.values()}) == 1
    lines = [json.loads(line)["file"] for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    assert len(set(lines)) == 6
    assert "<script>=1" not in (out / "report.html").read_text("utf-8")


def test_a_folder_that_cannot_be_read_is_a_failure(pictures: Path, tmp_path: Path) -> None:
    for name in ("broken.jpg", "empty.png"):
        (pictures / name).unlink()
    (pictures / "ring").symlink_to("ring")
    deepest = os.open(pictures, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=deepest)
        outer, deepest = deepest, os.open("d" * 250, os.O_RDONLY, dir_fd=deepest)
        os.close(outer)
    os.close(deepest)
    assert "1 folder could not be read" in screen(pictures, "-o", tmp_path / "out", exit_code=3)
    (failed,) = [row for row in rows(tmp_path / "out").values() if row["error_code"]]
    assert (failed["error_code"], failed["file"][-2:]) == ("unreadable_folder", "d/")


def test_results_so_far_are_written_when_the_server_gives_up(
    pictures: Path, tmp_path: Path, server: ScriptedServer
) -> None:
    identity = {"name": "hra_screening", "version": "1", "weights_sha256": "ab" * 32}
    refused = {"code": "unauthorized", "detail": "The key was withdrawn."}
    server.script = [(200, {}, {"weights": identity}), *[(401, {}, refused)] * 4]
    with pytest.raises(CommandError, match="withdrawn"):
        screen(pictures, "-o", tmp_path / "out", "--url", server.url)
    assert set(rows(tmp_path / "out")) == {"empty.png"}
    assert "1 of 8 done" in (tmp_path / "out" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("url", "reason"), [("localhost:8080", "does not begin"), ("http://127.0.0.1:9", "refused"), ("http://", "host")]
)
def test_a_wrong_address_is_reported_at_once(pictures: Path, tmp_path: Path, url: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        screen(pictures, "-o", tmp_path / "out", "--url", url)


def test_another_server_at_the_address_is_reported_at_once(
    pictures: Path, tmp_path: Path, server: ScriptedServer
) -> None:
    server.script = [(404, {}, b"<html>nothing here</html>"), (200, {}, b"<html>hello</html>")]
    for _ in range(2):
        with pytest.raises(CommandError, match="is not Sightline"):
            screen(pictures, "-o", tmp_path / "out", "--url", server.url)


def test_folder_without_pictures_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no pictures"):
        screen(tmp_path, "-o", tmp_path / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_tried_again(pictures: Path, tmp_path: Path) -> None:
    (pictures / "a.png").chmod(0)
    screen(pictures, "-o", tmp_path / "out")
    assert rows(tmp_path / "out")["a.png"]["error_code"] == "unreadable_file"
    (pictures / "a.png").chmod(0o600)
    screen(pictures, "-o", tmp_path / "out")
    assert rows(tmp_path / "out")["a.png"]["error_code"] == ""


def test_a_killed_or_interrupted_run_goes_on_without_doing_anything_twice(tmp_path: Path, started: Start) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "out"
    for seed in range(150):
        draw(folder / f"{seed:03}.png", seed)
    command = [sys.executable, "-m", "sightline.cli", "screen", str(folder), "-o", str(out)]

    def start_until(lines: int) -> "Popen[str]":
        process = started(*command, stdout=PIPE, stderr=PIPE)
        give_up_at = time.monotonic() + PATIENCE_S
        while not ((out / NAME).exists() and len(journal_lines(out)) > lines) and time.monotonic() < give_up_at:
            time.sleep(0.01)
        return process

    killed = start_until(20)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    done = len(journal_lines(out)) - 1
    assert 0 < done < 150
    assert not (out / "results.csv").exists()

    interrupted = start_until(done + 20)
    interrupted.send_signal(signal.SIGINT)
    time.sleep(0.2)
    interrupted.send_signal(signal.SIGINT)
    said, errors = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    found = len(rows(out))
    assert done < found < 150
    assert f"{found} of 150 done; run again to continue" in said
    assert "Traceback" not in errors
    assert f"{found} of 150 done" in (out / "report.html").read_text("utf-8")
    assert len((out / "results.jsonl").read_text("utf-8").splitlines()) == found

    last = started(*command, stdout=PIPE, stderr=PIPE)
    last.communicate(timeout=120)
    assert last.returncode == 0
    files = [line["file"] for line in journal(out)]
    assert len(files) == len(set(files)) == 150
    assert len(rows(out)) == 150


def journal_lines(out: Path) -> list[str]:
    """The whole ones: the last may be torn."""
    return (out / NAME).read_text("utf-8").split("\n")[:-1]


def test_store_is_screened_like_a_folder(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server("archive") as endpoint:
        for name, value in s3_environment(endpoint).items():
            monkeypatch.setenv(name, value)
        copy_to_store(pictures, "s3://archive/photos")
        said = screen("s3://archive/photos", "-o", tmp_path / "out", "--thumbnails")
        assert "8 files" in said
        check(tmp_path / "out", pictures)
        assert "8 were done before" in screen("s3://archive/photos", "-o", tmp_path / "out", "--thumbnails")
    assert "data:image/jpeg" in (tmp_path / "out" / "report.html").read_text()
