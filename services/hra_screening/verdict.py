"""From what the network says of the views to probabilities, and from these to a decision or none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.api.screening import ABSTAIN, CATEGORIES, Category
from sightline.inference.signature import Tensors


@dataclass(frozen=True, slots=True)
class Threshold:
    value: float
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """probabilities: (9,) of sum 1; activation: (rows, columns, 9) logits of the whole frame; embedding: unit."""

    probabilities: NDArray[np.float64]
    activation: NDArray[np.float32]
    embedding: NDArray[np.float32]

    @property
    def most_likely(self) -> Category:
        return CATEGORIES[int(self.probabilities.argmax())]

    @property
    def violation_probability(self) -> float:
        return float(1 - self.probabilities[CATEGORIES.index(Category.NO_VIOLATION)])

    def decide(self, threshold: Threshold) -> Category | None:
        """None where no class reaches the threshold."""
        return self.most_likely if self.probabilities.max() >= threshold.value else None


def conclude(views: Sequence[Tensors]) -> Verdict:
    """The mean of the views' calibrated logits; the first view is the whole frame."""
    logits = np.stack([view["logits"] for view in views]).mean(0)
    embedding = np.mean([view["embedding"] for view in views], axis=0)
    length = max(float(np.linalg.norm(embedding)), np.finfo(np.float32).tiny)
    return Verdict(softmax(logits), views[0]["activation"], np.asarray(embedding / length, np.float32))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def name_of(decision: Category | None) -> str:
    return ABSTAIN if decision is None else decision
