from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from sightline.training.hdr_correct.baselines import BASELINES, identity
from sightline.training.hdr_correct.scenario_evaluation import (
    BacklitView,
    backlit_views,
    codes,
    compare_backlit,
    compare_bright,
    measure_backlit,
    render_page,
)
from sightline.training.photos import Picture


def write_scene(path: Path, dark: float) -> None:
    rng = np.random.default_rng(0)
    scene = np.ones((120, 170, 3)) * rng.uniform(0.9, 1.1, (120, 170, 1))
    scene[60:] *= dark
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": scene.astype(np.float32)}) as file:
        file.write(str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scene(tmp_path / "backlit.exr", 0.01)
    write_scene(tmp_path / "flat.exr", 0.6)
    return tmp_path


@pytest.fixture
def view(folder: Path) -> BacklitView:
    (view,) = backlit_views(folder)
    return view


def test_only_scenes_with_a_dark_and_a_bright_region_are_backlit(view: BacklitView) -> None:
    assert view.dark[70:].all()
    assert view.bright[:50].all()
    assert np.median(codes(view.photo)[view.dark]) < 40


def test_reference_shows_the_dark_region_without_losing_the_sky(view: BacklitView) -> None:
    reference = codes(view.reference)

    assert np.median(reference[view.dark]) > 70
    assert np.median(reference[view.bright]) < 253


def test_unchanged_view_has_no_damage(view: BacklitView) -> None:
    figures = measure_backlit(view.photo, view)

    assert figures["new_clipped"] == 0
    assert figures["sky_texture"] == pytest.approx(1)
    assert figures["halo_levels"] == pytest.approx(0)


def test_clipped_sky_and_halo_are_counted(view: BacklitView) -> None:
    clipped, haloed = view.photo.copy(), view.photo.astype(np.int16)
    clipped[:30] = 255
    haloed[46:58] -= 40

    assert measure_backlit(clipped, view)["new_clipped"] == pytest.approx(0.5, abs=0.1)
    assert measure_backlit(clipped, view)["sky_texture"] < 0.8
    assert measure_backlit(haloed.clip(0, 255).astype(np.uint8), view)["halo_levels"] > 10


def test_folder_without_backlit_views_is_refused(tmp_path: Path) -> None:
    write_scene(tmp_path / "flat.exr", 0.6)

    with pytest.raises(ValueError, match="no backlit view"):
        compare_backlit({"identity": identity}, tmp_path)


def test_retinex_lifts_the_dark_region(folder: Path) -> None:
    table = compare_backlit({name: BASELINES[name] for name in ("identity", "retinex")}, folder)

    before, after = (float(line.split("|")[3]) for line in table.splitlines()[2:])
    assert after > before + 30


def test_change_of_bright_pictures_is_listed_by_subject(tmp_path: Path) -> None:
    (tmp_path / "snow").mkdir()
    cv2.imwrite(str(tmp_path / "snow" / "field.png"), np.full((60, 80, 3), 240, np.uint8))

    def darken(photo: Picture) -> Picture:
        return np.maximum(photo, 20) - np.uint8(20)

    rows = compare_bright({"identity": identity, "darken": darken}, tmp_path).splitlines()[2:]

    assert [row.split("|")[1].strip() for row in rows[::2]] == ["snow (1)", "rendered page (24)"]
    assert [float(row.split("|")[5]) for row in rows] == pytest.approx([0, 20, 0, 20], abs=0.5)
    assert [float(row.split("|")[7]) for row in rows] == [0, 1, 0, 1]


def test_rendered_page_is_bright_paper_with_dark_text() -> None:
    page = codes(render_page(np.random.default_rng(0)))

    assert np.quantile(page, 0.9) > 200
    assert page.min() < 110
