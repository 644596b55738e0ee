"""Evaluations of a running service give the figures of the evaluation in process, for every model."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp
from typer.testing import CliRunner

from sightline.cli.app import build_app
from sightline.cli.models import find_models
from sightline.client import Unreachable
from sightline.runtime.deployables import SAMPLES
from sightline.training.photos import read_rgb
from sightline.training.served_model import encode_png, open_served_model
from tests.services.service_process import running_service

NOBODY = "http://127.0.0.1:9"
PHOTO_PX = 160

WriteData = Callable[[Path], Sequence[object]]
"""Writes a model's test set into a folder, and returns the arguments of its evaluation."""


def write_photos(folder: Path) -> Sequence[Path]:
    """Two small photos."""
    paths = [folder / f"photos/{name}.png" for name in ("astronaut", "photo")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        photo = read_rgb(SAMPLES / f"{path.stem}.jpg")
        small = cv2.resize(photo, (PHOTO_PX * photo.shape[1] // photo.shape[0], PHOTO_PX), interpolation=cv2.INTER_AREA)
        path.write_bytes(encode_png(np.asarray(small, np.uint8)))
    return paths


def photos_for_correction(folder: Path) -> Sequence[object]:
    return write_photos(folder)[0].parent, "--size-px", 64, "--limit", 1


def photos_for_inpainting(folder: Path) -> Sequence[object]:
    return write_photos(folder)[0].parent, "--size-px", 128, "--limit", 1


def no_materials(folder: Path) -> Sequence[object]:
    return folder, "--generated", 1, "--per-material", 1, "--size-px", 128


def labelled_pictures(folder: Path) -> Sequence[object]:
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "split", "source_repo"])
        for path in write_photos(folder):
            writer.writerow([path.relative_to(folder), "no_violation", "test", path.stem])
    return folder, "--everything"


def annotated_scenes(folder: Path) -> Sequence[object]:
    """The astronaut, who smiles: one picture to test on, and one to count verbs in."""
    astronaut = {"category": "person", "bbox": [0, 0, 460, 512]}
    smile = {"person": 0, "action": "smile", "roles": {}}
    scene = {"width": 512, "height": 512, "file_name": str(SAMPLES / "astronaut.jpg"), "objects": [astronaut]}
    splits = {split: [scene | {"image_id": at, "hois": [smile]}] for at, split in enumerate(("train", "val"))}
    path = folder / "extract.json"
    path.write_text(json.dumps(splits))
    return (path,)


TEST_SETS: dict[str, WriteData] = {
    "hdr_correct": photos_for_correction,
    "hoi": annotated_scenes,
    "hra_screening": labelled_pictures,
    "inpaint": photos_for_inpainting,
    "svbrdf": no_materials,
}


def evaluate(model: str, *arguments: object) -> str:
    result = CliRunner().invoke(build_app("evaluate"), ["evaluate", model, *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_every_model_has_a_test_set() -> None:
    assert sorted(TEST_SETS) == sorted(find_models())


@pytest.mark.parametrize("model", TEST_SETS)
def test_figures_over_http_are_those_in_process(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    arguments = TEST_SETS[model](tmp_path)

    in_process = evaluate(model, *arguments)
    with running_service(model) as service:
        over_http = evaluate(model, *arguments, "--url", service.url)

    assert re.search(r"\| [\d.]{3,}", in_process)
    assert over_http == in_process


@pytest.mark.parametrize("model", TEST_SETS)
def test_unreachable_fleet_is_an_error(model: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        evaluate(model, *TEST_SETS[model](tmp_path), "--url", NOBODY)


def test_result_of_a_large_picture_is_that_of_its_job(serve: Callable[[ASGIApp], str]) -> None:
    app, states = FastAPI(), iter(["queued", "running", "succeeded"])

    @app.post("/v1/hoi", status_code=HTTPStatus.ACCEPTED)
    def submit() -> JSONResponse:
        return JSONResponse({"id": "7", "state": "queued"}, HTTPStatus.ACCEPTED)

    @app.get("/v1/jobs/7")
    def state() -> dict[str, str]:
        return {"id": "7", "state": next(states)}

    @app.get("/v1/jobs/7/result")
    def result() -> PlainTextResponse:
        return PlainTextResponse("the result")

    with open_served_model("hoi", serve(app)) as model:
        assert model({"image": b"large"}, "text/plain") == b"the result"
    assert next(states, None) is None
