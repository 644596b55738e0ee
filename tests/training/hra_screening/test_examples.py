import shutil
from collections import Counter
from pathlib import Path

import cv2
import pytest

from sightline.api.screening import CATEGORIES, Category
from sightline.training.hra_screening.examples import Example, category_of, read_examples, support
from sightline.training.photos import read_rgb
from tests.training.hra_screening.conftest import draw


def test_manifest_gives_class_source_and_split(examples: list[Example]) -> None:
    assert len(examples) == 54
    assert Counter(example.source for example in examples) == dict.fromkeys(
        ("one", "two", "three", "four", "five", "six"), 9
    )
    assert {example.split for example in examples if example.source == "six"} == {"val"}
    assert support(examples) == {
        category: 18 if category in ("arms", "environment", "no_violation") else 0 for category in CATEGORIES
    }


@pytest.mark.parametrize("name", ["Child Labour", "child_labour", "child-labour", "CHILD  LABOUR"])
def test_folders_of_the_original_archive_are_known(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "train_val" / name / "a.jpg", Category.ARMS, 1)
    draw(tmp_path / "test" / name / "b.png", Category.ARMS, 2)
    (tmp_path / "test" / name / "readme.txt").write_text("no picture")
    draw(tmp_path / "test" / "elsewhere" / "c.png", Category.ARMS, 3)
    found = read_examples(tmp_path)
    assert [(each.category, each.split) for each in found] == [
        (Category.CHILD_LABOUR, "test"),
        (Category.CHILD_LABOUR, "train_val"),
    ]


def test_copies_without_a_manifest_are_of_one_source(tmp_path: Path) -> None:
    first, again, other = (tmp_path / "arms" / f"{name}.png" for name in ("a", "b", "c"))
    draw(first, Category.ARMS, 1)
    cv2.imwrite(str(again), cv2.resize(read_rgb(first), (128, 96))[..., ::-1])
    draw(other, Category.ARMS, 2)
    sources = {each.path.name: each.source for each in read_examples(tmp_path)}
    assert sources["a.png"] == sources["b.png"] != sources["c.png"]


def test_unknown_class_is_named_in_the_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no class is named 'weapons'"):
        category_of("weapons")
    copy = tmp_path / "manifest.csv"
    shutil.copy(data / "manifest.csv", copy)
    copy.write_text(copy.read_text().replace(",arms,", ",weapons,"))
    with pytest.raises(ValueError, match="weapons"):
        read_examples(tmp_path)


def test_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in class folders"):
        read_examples(tmp_path)
