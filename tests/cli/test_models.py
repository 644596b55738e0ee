import os
import shlex
import sys
from pathlib import Path
from subprocess import run

import cv2
import numpy as np
import pytest
import typer

from sightline.cli import models
from sightline.cli.models import curl_command, find_models, require_models, sample_pictures
from tests.cli.conftest import PHOTO, ROOT, SAMPLES


def test_a_folder_with_a_predictor_is_a_model() -> None:
    assert "inpaint" in find_models()
    assert "gateway" not in find_models()


def test_all_models_unless_some_are_named() -> None:
    assert require_models([]) == find_models()
    assert require_models(["inpaint"]) == ("inpaint",)


def test_a_name_may_be_spelled_as_in_urls() -> None:
    assert require_models(["hdr-correct", "HRA_screening"]) == ("hdr_correct", "hra_screening")


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(typer.BadParameter, match=r"no model 'paint'.*inpaint"):
        require_models(["paint"])


def test_the_mask_fits_the_photo_and_has_holes_of_some_size() -> None:
    pictures = sample_pictures("inpaint")
    photo, mask = (cv2.imread(str(pictures[name]), cv2.IMREAD_UNCHANGED) for name in ("image", "mask"))
    assert photo is not None
    assert mask is not None
    assert mask.shape == photo.shape[:2]
    assert set(np.unique(mask)) == {0, 255}
    assert 0.01 < np.mean(mask == 255) < 0.1


def test_other_models_get_the_photo_alone() -> None:
    assert set(sample_pictures("hra_screening")) == {"image"}


def test_models_that_look_at_people_get_some() -> None:
    (photo,) = sample_pictures("hoi").values()
    assert cv2.imread(str(photo)) is not None
    assert curl_command("hoi", "http://localhost:8080").endswith("http://localhost:8080/v1/hoi")


def test_the_curl_line_is_one_command_for_any_folder() -> None:
    words = shlex.split(curl_command("hra_screening", "http://localhost:8080"))
    assert words[0] == "curl"
    assert words[-1] == "http://localhost:8080/v1/hra-screening"
    assert Path(words[2].removeprefix("image=@")).is_absolute()


def test_the_curl_line_survives_a_folder_with_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "SAMPLES", Path("/home/a user/samples"))
    assert "image=@/home/a user/samples/photo.jpg" in shlex.split(curl_command("inpaint", "http://localhost:8080"))


@pytest.mark.parametrize(
    ("model", "end"),
    [("hdr_correct", " -o out.png"), ("svbrdf", " -o material.zip"), ("hra_screening", "/v1/hra-screening")],
)
def test_files_are_saved_and_a_record_is_printed(model: str, end: str) -> None:
    assert curl_command(model, "http://localhost:8080").endswith(end)


@pytest.mark.parametrize("model", ["inpaint", "hdr_correct", "svbrdf"])
def test_every_sample_is_there(model: str) -> None:
    assert all(path.is_file() for path in sample_pictures(model).values())


@pytest.mark.parametrize(
    "command", ["predict inpaint PHOTO -o out.png", "screen FOLDER -o out", "bench inpaint", "up inpaint"]
)
def test_a_missing_runtime_is_named(tmp_path: Path, command: str) -> None:
    words = command.replace("PHOTO", str(PHOTO)).replace("FOLDER", str(SAMPLES)).split()
    code = "import sys; sys.modules['onnxruntime'] = None; from sightline.cli.main import main; main()"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}{os.pathsep}{ROOT}"}
    done = run([sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "sightline[serve]==" in done.stderr
    assert "Traceback" not in done.stderr
