import numpy as np
import pytest

from sightline.training.fsim import fsim, phase_congruency
from sightline.training.photos import Picture


@pytest.fixture
def truth() -> Picture:
    y, x = np.mgrid[:96, :128]
    waves = 128 + 90 * np.sin(x / 7) * np.cos(y / 5), 128 + 60 * np.sin((x + y) / 9)
    return np.dstack([*waves, np.where((x // 16 + y // 16) % 2, 200, 60)]).astype(np.uint8)


def test_equal_pictures_are_alike(truth: Picture) -> None:
    assert fsim(truth, truth) == pytest.approx(1)


def test_the_index_is_that_of_other_implementations(truth: Picture) -> None:
    # What piq 0.8.0 gives for the same pictures.
    others = {"dark": truth // 2, "shifted": np.roll(truth, 2, axis=1), "negative": 255 - truth}
    expected = {"dark": 0.89909, "shifted": 0.9345, "negative": 0.96333}

    assert {name: fsim(picture, truth) for name, picture in others.items()} == pytest.approx(expected, abs=2e-4)


def test_a_line_is_congruent_and_noise_is_not() -> None:
    picture = np.random.default_rng(0).normal(50, 2, (64, 64))
    picture[:, 30:34] += 50

    congruency = phase_congruency(picture)

    assert congruency[20:44, 31:33].min() > 0.8
    assert np.median(congruency[20:44, 10:20]) < 0.1
