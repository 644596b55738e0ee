"""Quality of a screening model, with confidence intervals."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.api.screening import CATEGORIES, Category
from sightline.training.hra_screening.calibration import Probabilities, calibration_error
from sightline.training.hra_screening.examples import INDEX

THRESHOLD = 0.85
FALSE_ALARMS = 0.1
Z95 = 1.96


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion, `hits` of `count`, with its 95 % Wilson interval."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        if not self.count:
            return 0.0, 1.0
        shrunk = self.count + Z95**2
        centre = (self.hits + Z95**2 / 2) / shrunk
        spread = Z95 * math.sqrt(self.hits * (self.count - self.hits) / self.count + Z95**2 / 4) / shrunk
        return max(0.0, centre - spread), min(1.0, centre + spread)

    def __str__(self) -> str:
        if not self.count:
            return "none"
        low, high = self.interval
        return f"{self.value:.3f} ({low:.2f} to {high:.2f})"


@dataclass(frozen=True, slots=True)
class ClassScore:
    category: Category
    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True)
class Scores:
    """Quality measures. `any_violation` is the share of violations found at 10 % false alarms.

    `risk_coverage` is the error rate among the most certain 10 %, 20 % ... 100 %.
    """

    top_1: Share
    macro_recall: float
    covered: Share
    right_if_covered: Share
    calibration_error: float
    any_violation: Share
    risk_coverage: tuple[float, ...]
    classes: tuple[ClassScore, ...]


def score(given: Probabilities, labels: NDArray[np.int64], supported: Collection[Category] = CATEGORIES) -> Scores:
    """Scores of predictions. The macro recall is over the supported classes that occur; NaN if none does."""
    chosen, confidence = given.argmax(1), given.max(1)
    right, covered = chosen == labels, confidence >= THRESHOLD
    classes = tuple(_class_score(category, chosen, labels) for category in CATEGORIES)
    recalls = [each.recall.value for each in classes if each.category in supported and each.recall.count]
    return Scores(
        top_1=_share(right),
        macro_recall=float(np.mean(recalls)) if recalls else math.nan,
        covered=_share(covered),
        right_if_covered=_share(right[covered]),
        calibration_error=calibration_error(given, labels),
        any_violation=any_violation(given, labels),
        risk_coverage=risk_coverage(confidence, right),
        classes=classes,
    )


def any_violation(given: Probabilities, labels: NDArray[np.int64], *, false_alarms: float = FALSE_ALARMS) -> Share:
    """Share of violations found at this share of false alarms."""
    suspicion, none = 1 - given[:, INDEX[Category.NO_VIOLATION]], labels == INDEX[Category.NO_VIOLATION]
    if not none.any():
        return Share(0, 0)
    return _share(suspicion[~none] > np.quantile(suspicion[none], 1 - false_alarms, method="higher"))


def risk_coverage(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> tuple[float, ...]:
    order = np.argsort(-confidence, kind="stable")
    ends = [max(1, round(len(order) * tenth / 10)) for tenth in range(1, 11)]
    return tuple(float(1 - right[order[:end]].mean()) for end in ends)


def _class_score(category: Category, chosen: NDArray[np.int64], labels: NDArray[np.int64]) -> ClassScore:
    at = INDEX[category]
    return ClassScore(category, _share(labels[chosen == at] == at), _share(chosen[labels == at] == at))


def _share(hits: NDArray[np.bool_]) -> Share:
    return Share(int(hits.sum()), len(hits))


def markdown(scores: Scores) -> str:
    """The scores as two tables and a line of Markdown."""
    rows = [
        ("top-1", scores.top_1),
        ("macro recall over supported classes", f"{scores.macro_recall:.3f}"),
        (f"coverage at {THRESHOLD}", scores.covered),
        ("right among the covered", scores.right_if_covered),
        ("expected calibration error", f"{scores.calibration_error:.3f}"),
        (f"any violation found at {FALSE_ALARMS:.0%} false alarms", scores.any_violation),
    ]
    lines = ["| figure | value (95 % interval) |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += ["| class | pictures | precision | recall |", "|---|---|---|---|"]
    lines += [
        f"| {each.category} | {each.recall.count} | {each.precision} | {each.recall} |" for each in scores.classes
    ]
    risks = ", ".join(f"{risk:.2f}" for risk in scores.risk_coverage)
    return "\n".join([*lines, "", f"Wrong among the surest 10 %, 20 % ... 100 %: {risks}"])
