from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.training.svbrdf.estimators import median_colour, photo_colour
from sightline.training.svbrdf.evaluate import (
    Case,
    Maps,
    compare,
    figures_of,
    make_cases,
    novel_lights,
    novel_renders,
    photographed_cases,
    type_accuracy,
)
from sightline.training.svbrdf.flash import Floats
from sightline.training.svbrdf.materials import TrainingMaterial
from sightline.training.tables import markdown_table


@pytest.fixture(scope="module")
def cases(generated: list[TrainingMaterial]) -> list[Case]:
    return make_cases(generated[:8], size_px=48)


def test_cases_are_the_same_every_time(cases: list[Case], generated: list[TrainingMaterial]) -> None:
    again = make_cases(generated[:8], size_px=48)

    assert all(np.array_equal(a.photo, b.photo) for a, b in zip(cases, again, strict=True))
    assert len(make_cases(generated[:2], size_px=48, per_material=3)) == 6


def test_truth_has_no_error(cases: list[Case]) -> None:
    figures = dict(figures_of(cases[0].truth, cases[0]))

    assert figures.pop("render_ssim") == pytest.approx(1)
    assert figures.pop("normal_deg") < 0.1
    assert set(figures.values()) == {0}


def test_figures_measure_their_own_map(cases: list[Case]) -> None:
    case, changed = cases[1], cases[1].truth.maps.copy()
    changed[..., 6] = np.clip(changed[..., 6] - 0.2, 0, 1)

    figures = figures_of(Maps(changed, case.truth.metallic), case)

    assert figures["roughness_mae"] == pytest.approx(0.2, abs=0.01)
    assert figures["albedo_rmse"] == 0
    assert figures["render_rmse"] > 0


def test_ten_lights_stand_around_the_surface(cases: list[Case]) -> None:
    lights = novel_lights()

    np.testing.assert_allclose(np.linalg.norm(lights - [0, 0, -1], axis=1), 1, atol=1e-5)
    assert np.abs(lights[:, :2].mean(axis=0)).max() < 0.15
    renders = novel_renders(cases[0].truth, cases[0])
    assert len(renders) == 10
    assert len({each.tobytes() for each in renders}) == 10


def test_trivial_estimates_are_flat_and_of_the_photos_colour(cases: list[Case]) -> None:
    median, own = (estimate(cases[0].photo, cases[0].coordinates).maps for estimate in (median_colour, photo_colour))

    assert np.ptp(median[..., :3], axis=(0, 1)).max() == 0
    np.testing.assert_array_equal(own[..., :3], cases[0].photo)
    assert (own[..., 5] == 1).all()


def test_table_has_rows_by_type_and_all_together(cases: list[Case]) -> None:
    rows = compare({"median": median_colour}, cases)

    assert [row.group for row in rows][-1] == "all"
    assert "| wood (1) | median |" in markdown_table(rows, "material")


def test_types_found_are_counted_over_known_ones(cases: list[Case]) -> None:
    def always_wood(photo: Floats, _coordinates: Floats) -> Maps:
        return Maps(np.zeros((*photo.shape[:2], 7), np.float32), np.zeros(photo.shape[:2], np.float32), 7)

    assert type_accuracy(always_wood, cases) == pytest.approx(1 / 8)


def test_brightness_does_not_count_for_the_pattern(cases: list[Case]) -> None:
    case = cases[0]
    darker = case.truth.maps.copy()
    darker[..., :3] *= 0.5

    figures = figures_of(Maps(darker, case.truth.metallic), case)

    assert figures["colour_rmse"] > 0.05
    assert figures["colour_best"] < 0.01


def test_published_photos_come_with_metallicness_by_pixel(tmp_path: Path) -> None:
    folder = tmp_path / "plate"
    folder.mkdir()
    dark, half = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)
    half[:, 16:] = 180
    pictures = {
        "diffuse": dark,
        "specular": half,
        "normal": np.full_like(dark, (255, 128, 128)),
        "roughness": dark + 99,
    }
    for name, pixels in (pictures | {"flash": half}).items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    (folder / "flash.png").rename(folder / "flash.jpg")
    (tmp_path / "manifest.csv").write_text("material,type,tier,split,metallic_mean\nplate,metal,T,test,\n")

    (case,) = photographed_cases(tmp_path)

    assert (case.truth.metallic == (half[..., 0] > 0)).all()
    assert case.truth.maps[0, 31, 0] == pytest.approx(float(decode_srgb(np.array(180 / 255))), abs=1e-3)
    assert case.photo[0, 31, 0] == pytest.approx(case.truth.maps[0, 31, 0])
