import numpy as np
import pytest

from sightline.api.screening import CATEGORIES, Category
from sightline.training.hra_screening.calibration import calibration_error, fit_temperature, probabilities
from sightline.training.hra_screening.scores import Share, any_violation, markdown, score

NONE = CATEGORIES.index(Category.NO_VIOLATION)


def sure(labels: list[int], confidence: float) -> np.ndarray:
    given = np.full((len(labels), 9), (1 - confidence) / 8, np.float32)
    given[np.arange(len(labels)), labels] = confidence
    return given


@pytest.mark.parametrize("hotter", [0.5, 1.0, 3.0])
def test_temperature_undoes_over_confidence(hotter: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (4000, 9)).astype(np.float32)
    labels = np.array([rng.choice(9, p=row / row.sum()) for row in probabilities(honest).astype(np.float64)])
    fitted = fit_temperature(honest * hotter, labels)
    assert fitted == pytest.approx(hotter, rel=0.06)
    assert calibration_error(probabilities(honest * hotter, fitted), labels) < 0.03


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    given = sure([0] * 10, 0.75)
    assert calibration_error(given, np.array([0] * 10)) == pytest.approx(0.25)
    assert calibration_error(given, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.25)


def test_scores_of_known_answers() -> None:
    labels = np.array([0, 0, 1, NONE])
    given = np.concatenate([sure([0, 1], 0.9), sure([1], 0.6), sure([NONE], 0.95)])
    scores = score(given, labels)
    assert (scores.top_1.hits, scores.top_1.count) == (3, 4)
    assert scores.macro_recall == pytest.approx((0.5 + 1 + 1) / 3)
    assert score(given, labels, [Category.ARMS, Category.NO_VIOLATION]).macro_recall == pytest.approx(0.75)
    assert np.isnan(score(given, labels, []).macro_recall)
    assert (scores.covered.hits, scores.right_if_covered) == (3, Share(2, 3))
    arms, labour = scores.classes[:2]
    assert (arms.precision, arms.recall) == (Share(1, 1), Share(1, 2))
    assert (labour.precision, labour.recall) == (Share(1, 2), Share(1, 1))
    assert scores.risk_coverage[-1] == pytest.approx(1 / 4)
    assert scores.risk_coverage[0] == 0
    assert "| child_labour | 1 | 0.500" in markdown(scores)


def test_violations_are_told_at_the_score_of_ten_per_cent_false_alarms() -> None:
    suspicion = np.array([*np.linspace(0, 0.9, 10), 0.95, 0.5, 0.85])
    given = np.zeros((13, 9), np.float32)
    given[:, NONE], given[:, 0] = 1 - suspicion, suspicion
    labels = np.array([NONE] * 10 + [0] * 3)
    assert any_violation(given, labels) == Share(1, 3)
    assert any_violation(given, labels, false_alarms=0.3) == Share(2, 3)


def test_interval_is_wilson_score() -> None:
    assert Share(8, 10).interval == pytest.approx((0.490, 0.943), abs=1e-3)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert str(Share(0, 0)) == "none"
