from pathlib import Path

import cv2
import numpy as np

from sightline.training.svbrdf.evaluate import make_cases
from sightline.training.svbrdf.materials import TrainingMaterial
from sightline.training.svbrdf.pictures import row, write_sheet


def test_true_and_estimated_maps_stand_side_by_side(generated: list[TrainingMaterial], tmp_path: Path) -> None:
    cases = make_cases(generated[:2], size_px=32)

    parts = np.split(row(cases[0], cases[0].truth), 9, axis=1)
    write_sheet(tmp_path / "sheet.png", lambda photo, coordinates: cases[1].truth, cases)

    assert all(np.array_equal(parts[at], parts[at + 1]) for at in (1, 3, 5, 7))
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (64, 288, 3)
    assert not np.array_equal(sheet[:32, 32:64], sheet[:32, 64:96])
