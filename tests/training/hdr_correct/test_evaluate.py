from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.training.hdr_correct.baselines import BASELINES
from sightline.training.hdr_correct.evaluate import (
    EVS,
    MEASURES,
    Case,
    compare,
    describe_change,
    ev_name,
    make_cases,
    measure,
    paired_cases,
)
from sightline.training.tables import markdown_table


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    for at in range(2):
        smooth = cv2.GaussianBlur(rng.integers(40, 200, (80, 96, 3), dtype=np.uint8), (0, 0), 3)
        cv2.imwrite(str(tmp_path / f"good{at}.png"), smooth)
    cv2.imwrite(str(tmp_path / "night.png"), np.full((80, 96, 3), 9, np.uint8))
    return make_cases(tmp_path, size_px=64)


def test_each_well_exposed_photo_is_exposed_wrong_by_every_amount(cases: list[Case]) -> None:
    assert [case.group for case in cases] == [ev_name(ev) for ev in EVS for _ in range(2)]
    means = [float(np.mean([case.photo.mean() for case in cases if case.group == ev_name(ev)])) for ev in EVS]
    assert means == sorted(means)


def test_truth_has_no_error(cases: list[Case]) -> None:
    exact = cases[0]

    rows = measure(lambda _photo: exact.target, [exact], MEASURES)

    assert rows == [{"psnr_db": float("inf"), "ssim": pytest.approx(1)}]


def test_change_of_well_exposed_photos_is_described(cases: list[Case]) -> None:
    photos = [case.target for case in cases[:2]]

    assert "by 0.00 levels of 255" in describe_change(BASELINES["identity"], photos)
    assert "at most 2.00; 0% are left" in describe_change(lambda photo: photo + np.uint8(2), photos)


def test_table_has_a_row_per_exposure_and_method(cases: list[Case]) -> None:
    rows = compare({"identity": BASELINES["identity"]}, cases, MEASURES)

    by_exposure = {row.group: row.figures["psnr_db"] for row in rows}
    assert by_exposure["+0 EV"] == max(by_exposure.values())
    assert "| -3 EV (2) | identity |" in markdown_table(rows, "exposure")


def test_real_pairs_are_cases_of_their_exposure(tmp_path: Path) -> None:
    for name, level in (("INPUT_IMAGES/a1_N1.png", 40), ("INPUT_IMAGES/a1_P1.png", 160), ("GT_IMAGES/a1.png", 90)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((40, 50, 3), level, np.uint8))

    cases = paired_cases(tmp_path, size_px=32)

    assert [(case.group, int(case.photo[0, 0, 0]), int(case.target[0, 0, 0])) for case in cases] == [
        ("+1 EV", 160, 90),
        ("-1 EV", 40, 90),
    ]
