"""The command as it is run: with shipped weights in process, against a real service, and on an object store."""

import json
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

from services.inpaint.app import create
from sightline.cli.app import build_app
from sightline.cli.batch.sources import open_source
from sightline.cli.output import CommandError
from tests.cli.batch.test_sources import copy_to_store
from tests.cli.conftest import MASK, PHOTO

Serve = Callable[[ASGIApp], str]
PATIENCE_S = 60.0
RESULTS = ["astronaut.jpg.json", "photo.jpg.json", "sub/ä b%#.jpg.json"]


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")


def batch(*arguments: object, exit_code: int = 3) -> dict[str, Any]:
    """Runs the command with --json. One of the pictures is broken unless a test says otherwise."""
    result = CliRunner().invoke(build_app(), ["batch", *map(str, arguments), "--json"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def manifest(out: Path) -> list[dict[str, Any]]:
    """Returns the lines of pictures; each run begins with a line of its settings."""
    lines = map(json.loads, (out / "manifest.jsonl").read_text().splitlines())
    return [line for line in lines if "file" in line]


def test_results_stand_at_the_paths_of_their_pictures(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = batch("screen", pictures, "-o", out)
    assert (summary["pictures"], summary["done"], summary["failed"]) == (4, 3, 1)
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.json"))
    assert written == RESULTS
    assert "probabilities" in json.loads((out / RESULTS[0]).read_text())["results"][0]
    lines = {line["file"]: line for line in manifest(out)}
    assert lines["broken.jpg"]["error"]["code"] == "unreadable_image"
    assert all(len(line["sha256"]) == 64 for line in lines.values())


def test_second_run_processes_new_and_changed_pictures_alone(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch("screen", pictures, "-o", out)
    (pictures / "new.jpg").write_bytes(PHOTO.read_bytes())
    (pictures / "broken.jpg").write_bytes(PHOTO.read_bytes())
    summary = batch("screen", pictures, "-o", out, exit_code=0)
    assert (summary["pictures"], summary["done_before"], summary["done"]) == (5, 3, 5)
    assert {line["file"] for line in manifest(out)[4:]} == {"new.jpg", "broken.jpg"}


def test_failed_pictures_are_tried_again_on_request(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch("screen", pictures, "-o", out)
    assert batch("screen", pictures, "-o", out)["done_before"] == 4
    assert batch("screen", pictures, "-o", out, "--retry-failed")["done_before"] == 3


def test_store_is_read_and_written_like_a_folder(pictures: Path, s3: str) -> None:
    copy_to_store(pictures, f"{s3}/in")
    assert batch("screen", f"{s3}/in", "-o", f"{s3}/out")["done"] == 3
    names = [file.name for file in open_source(f"{s3}/out", every_file=True, leaving_out="").files()]
    assert sorted(name for name in names if name.endswith(".json")) == RESULTS
    assert batch("screen", f"{s3}/in", "-o", f"{s3}/out")["done_before"] == 4


def test_fleet_fills_holes_by_masks_of_another_folder(tmp_path: Path, serve: Serve) -> None:
    photos, masks, out = tmp_path / "photos", tmp_path / "masks", tmp_path / "out"
    for folder in (photos, masks):
        folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (photos / name).write_bytes(PHOTO.read_bytes())
    (masks / "a.png").write_bytes(MASK.read_bytes())
    url = serve(create())
    give_up_at = time.monotonic() + PATIENCE_S
    while httpx2.get(f"{url}/readyz").status_code != 200 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    summary = batch("inpaint", photos, "-o", out, "--masks", masks, "--url", url, "--format", "webp")
    assert (summary["done"], summary["failed"]) == (1, 1)
    assert (out / "a.jpg.webp").read_bytes().startswith(b"RIFF")
    lines = {line["file"]: line for line in manifest(out)}
    assert lines["b.jpg"]["error"]["code"] == "missing_mask"
    assert lines["a.jpg"]["request_id"]
    assert lines["a.jpg"]["model"].startswith("inpaint@")


def test_shards_together_are_complete_and_nothing_is_done_twice(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summaries = [batch("screen", pictures, "-o", out, "--shard", f"{index}/2", exit_code=code) for index, code in CODES]
    assert sum(summary["pictures"] for summary in summaries) == 4
    assert batch("screen", pictures, "-o", out)["done_before"] == 4


CODES = ((0, 3), (1, 0))
"""Shards of the four pictures with their exit codes: the broken one is in the first."""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["hoi", "--format", "exr"], "hoi has no results as exr"),
        (["hoi", "--masks", "."], "hoi takes no masks"),
        (["hoi", "--option", "nothing=1"], "there is no option 'nothing'"),
        (["hoi", "--option", "max_people=many"], "max_people"),
        (["hoi", "--anew", "--shard", "0/2"], "use it without --shard"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    pictures: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    words = ["batch", arguments[0], str(pictures), "-o", str(tmp_path / "out"), *arguments[1:]]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 2
    assert sentence in re.sub(r"[\s│]+", " ", result.stderr)
    assert not (tmp_path / "out").exists()


def test_results_beside_their_pictures_are_refused(pictures: Path) -> None:
    result = CliRunner().invoke(build_app(), ["batch", "screen", str(pictures), "-o", f"{pictures}/"])
    assert result.exit_code == 2


def test_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="there are no pictures in"):
        batch("screen", tmp_path / "empty", "-o", tmp_path / "out")


def test_unreachable_server_ends_the_run(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.cli.server_client.MAX_OUTAGE_S", 0.1)
    with pytest.raises(CommandError, match=r"127\.0\.0\.1"):
        batch("screen", pictures, "-o", tmp_path / "out", "--url", "http://127.0.0.1:9")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_interrupted_run_continues_where_it_ended(
    tmp_path: Path,
    started: Callable[..., "Popen[str]"],
    eventually: Callable[[Callable[[], Any]], None],
    number: signal.Signals,
    code: int,
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for index in range(60):
        (folder / f"{index:02}.jpg").write_bytes(PHOTO.read_bytes())
    command = [sys.executable, "-m", "sightline", "batch", "screen", str(folder), "-o", str(out)]
    process = started(*command, stdout=PIPE, stderr=PIPE)
    path = out / "manifest.jsonl"
    eventually(lambda: path.exists() and len(path.read_bytes().splitlines()) > 4)
    process.send_signal(number)
    said, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert "Traceback" not in errors
    if code > 0:
        assert "run the same command again to continue" in said
    recorded = len(path.read_bytes().splitlines()) - 1
    assert 4 <= recorded < 60
    summary = batch("screen", folder, "-o", out, exit_code=0)
    assert recorded - 1 <= summary["done_before"] <= recorded
    assert summary["done"] == 60
    assert len({line["file"] for line in manifest(out)}) == 60
