from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.api.screening import Category
from sightline.training.hra_screening.examples import Example
from sightline.training.hra_screening.splits import balanced_weights, hold_out, leaks, source_folds
from sightline.training.photos import read_rgb


def made(category: Category, source: str, split: str = "train") -> Example:
    return Example(Path(f"{source}-{category}.png"), category, source, split)


def test_held_out_sources_are_of_no_other_split(examples: list[Example]) -> None:
    straddling = [*examples, replace(examples[0], path=Path("x.png"), source="six", split="train")]
    developed, held_out = hold_out(straddling)
    assert {example.source for example in held_out} == {"five"}
    assert len(developed) + len(held_out) == 55
    assert not {example.source for example in developed} & {"five"}


def test_source_is_in_one_fold(examples: list[Example]) -> None:
    fold = source_folds(examples, 3)
    assert all(
        len({fold[at] for at, each in enumerate(examples) if each.source == name}) == 1 for name in ("one", "six")
    )
    assert sorted(np.bincount(fold)) == [18, 18, 18]


def test_large_source_is_always_trained_on(examples: list[Example]) -> None:
    many = [replace(examples[0], path=Path(f"{at}.png"), source="big") for at in range(20)]
    fold = source_folds([*examples, *many], 3, together=20)
    assert set(fold[54:]) == {-1}
    assert set(fold[:54]) == {0, 1, 2}


def test_weights_balance_classes_and_sources() -> None:
    examples = [made(Category.ARMS, "big")] * 9 + [made(Category.ARMS, "small"), made(Category.ENVIRONMENT, "small")]
    weights = balanced_weights(examples, classes=1, sources=0.5)
    assert weights.mean() == pytest.approx(1)
    assert weights[:10].sum() == pytest.approx(weights[10])
    assert weights[:9].sum() == pytest.approx(9 * weights[9] * (2 / 9) ** 0.5)
    assert balanced_weights(examples, classes=0, sources=0).tolist() == [1.0] * 11


def test_near_duplicates_on_both_sides_are_leaks(examples: list[Example], tmp_path: Path) -> None:
    copy = tmp_path / "copy.jpg"
    cv2.imwrite(str(copy), cv2.resize(read_rgb(examples[3].path), (40, 30))[..., ::-1])
    found = leaks(examples[:5], [replace(examples[3], path=copy), examples[20]])
    assert [(first.path.name, second.path.name) for first, second in found] == [("03.png", "copy.jpg")]
