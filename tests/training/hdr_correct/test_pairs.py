from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.training.hdr_correct.pairs import PairStore, list_pairs, pack_pairs

LAYOUTS = {
    "MSEC": ["training/INPUT_IMAGES/a_b_0.JPG", "training/INPUT_IMAGES/a_b_N1.5.JPG", "training/GT_IMAGES/a_b.jpg"],
    "LOL": ["our485/low/2.png", "our485/low/5.png", "our485/high/2.png", "our485/high/5.png"],
    "LOL-v2": ["Train/Low/low1.png", "Train/Low/low2.png", "Train/Normal/low1.png", "Train/Normal/low2.png"],
    "SICE": ["Part1/1/1.JPG", "Part1/1/2.JPG", "Part1/Label/1.JPG", "Part1/2/1.JPG"],
    "own": ["input/a.jpg", "input/b.png", "input/c.jpg", "target/a.png", "target/b.png"],
}


def picture(path: Path, level: int, size: tuple[int, int] = (40, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), level, np.uint8))


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS)
def test_public_sets_are_read_as_they_come(files: list[str], tmp_path: Path) -> None:
    for name in files:
        picture(tmp_path / name, 90)

    pairs = list_pairs(tmp_path)

    assert len(pairs) == 2
    assert all(pair.target.parent != pair.photo.parent for pair in pairs)


def test_msec_names_tell_the_exposure(tmp_path: Path) -> None:
    for name in LAYOUTS["MSEC"]:
        picture(tmp_path / name, 90)

    assert [pair.group for pair in list_pairs(tmp_path)] == ["+0 EV", "-1.5 EV"]


def test_other_sets_are_told_by_their_folder(tmp_path: Path) -> None:
    for name in (*LAYOUTS["LOL"], *LAYOUTS["SICE"]):
        picture(tmp_path / name, 90)

    assert {pair.group for pair in list_pairs(tmp_path)} == {"our485", "Part1"}


def test_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "input" / "a.png", 9)

    with pytest.raises(ValueError, match="no pairs"):
        list_pairs(tmp_path)


def test_packed_pairs_are_of_one_size(tmp_path: Path) -> None:
    picture(tmp_path / "low" / "a.png", 30, (80, 120))
    picture(tmp_path / "high" / "a.png", 90, (160, 240))

    count = pack_pairs(list_pairs(tmp_path), tmp_path / "packed", short_side_px=40)

    photo, target = PairStore(tmp_path / "packed")[0]
    assert count == len(PairStore(tmp_path / "packed")) == 1
    assert photo.shape == target.shape == (40, 60, 3)
    assert (photo[0, 0, 0], target[0, 0, 0]) == (30, 90)
