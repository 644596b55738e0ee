"""Aggregation of a picture's views to probabilities, and the decision or abstention from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from services.hra_screening.preprocessing import PictureViews, UnreadablePicture
from services.hra_screening.schemas import ScreeningOptions
from sightline.api.screening import ABSTAIN, CATEGORIES, Category
from sightline.inference.signature import Tensors

PAPER_THRESHOLD = 0.85
MIN_SUPPORT = 30
"""Number of training pictures below which a class counts as not learned."""
FROM_REQUEST = "request"
"""Version of a threshold that the request sets, in place of the version of a calibration."""


class ContractFacts(BaseModel):
    """Properties of the weights, from the `[facts]` of their contract.

    support: number of training pictures of each class; unknown for a class without an entry.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=PAPER_THRESHOLD, ge=0, le=1)
    threshold_version: str = "default"
    support: Mapping[Category, int] = Field(default_factory=dict)

    def supports(self, category: Category) -> bool | None:
        """True for a class with enough training pictures; None where the support is unknown."""
        count = self.support.get(category)
        return None if count is None else count >= MIN_SUPPORT


@dataclass(frozen=True, slots=True)
class Threshold:
    """A decision threshold, and the version of the calibration that it comes from."""

    value: float
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The network's outputs for one picture.

    probabilities: (9,) of sum 1; activation: (rows, columns, 9), logits of the whole frame; embedding: a unit vector.
    """

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
        """The most likely class, or None where it does not reach the threshold."""
        return self.most_likely if self.probabilities.max() >= threshold.value else None


def aggregate(views: Sequence[Tensors]) -> Classification:
    """The classification from the mean of the views' calibrated logits; the first view is the whole frame."""
    logits = np.stack([view["logits"] for view in views]).mean(0)
    embedding = np.mean([view["embedding"] for view in views], axis=0)
    # The bound avoids a division by zero for an embedding of zeros.
    length = max(float(np.linalg.norm(embedding)), np.finfo(np.float32).tiny)
    return Classification(softmax(logits), views[0]["activation"], np.asarray(embedding / length, np.float32))


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """The softmax over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True), dtype=np.float64)
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def decision_name(decision: Category | None) -> str:
    """The decision on the wire: a class, or `abstain`."""
    return ABSTAIN if decision is None else decision


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningRequest:
    """Preprocessed pictures with their options.

    pictures: the original files, as overlays are drawn on the whole picture; views: of each, in the same order.
    """

    pictures: Sequence[bytes]
    views: Sequence[PictureViews | UnreadablePicture]
    options: ScreeningOptions


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningResult:
    """Classifications of the readable pictures, by their index in the request."""

    request: ScreeningRequest
    classifications: Mapping[int, Classification]
    facts: ContractFacts

    @property
    def threshold(self) -> Threshold:
        """The threshold of the request, or of the weights if the request has none."""
        requested = self.request.options.threshold
        if requested is None:
            return Threshold(self.facts.threshold, self.facts.threshold_version)
        return Threshold(requested, FROM_REQUEST)

    def decision(self, at: int) -> Category | None:
        """The decision for a picture; None to abstain, also where the most likely class was never learned."""
        decided = self.classifications[at].decide(self.threshold)
        return None if decided and self.facts.supports(decided) is False else decided
