"""Comparison of backbones, poolings and fusions on frozen features, by cross-validation over sources."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sightline.api.screening import Category
from sightline.networks.hra_cnn import Fusion, Pooling
from sightline.training.hra_screening.calibration import fit_temperature, probabilities
from sightline.training.hra_screening.config import HeadRecipe
from sightline.training.hra_screening.examples import Example, support, supported
from sightline.training.hra_screening.features import Pooled
from sightline.training.hra_screening.heads import LinearHead, Logits, fit_head
from sightline.training.hra_screening.scores import Scores, score
from sightline.training.hra_screening.splits import FOLDS, balanced_weights, source_folds
from sightline.training.hra_screening.views import FIXED_VIEWS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network with a linear head, by the names of its trunks."""

    backbones: tuple[str, ...]
    pooling: Pooling = Pooling.AVERAGE
    fusion: Fusion | None = None

    def __str__(self) -> str:
        fused = f", {self.fusion}" if self.fusion else ""
        return f"{' + '.join(self.backbones)}{fused}, {self.pooling} pooling"

    def inputs(self, pooled: Sequence[Pooled]) -> list[NDArray[np.float32]]:
        """Returns the input of each head, (examples, views, channels), from the features of each trunk.

        Pooling by the average commutes with concatenating and averaging maps, pooling by the maximum with
        concatenating and their maximum; other pairs need the maps themselves.
        """
        maps = [each.average if self.pooling is Pooling.AVERAGE else each.maximum for each in pooled]
        full = [each.astype(np.float32) for each in maps]
        match self.fusion:
            case None | Fusion.LATE:
                return full
            case Fusion.CONCATENATE:
                return [np.concatenate(full, axis=-1)]
            case Fusion.AVERAGE:
                return [np.mean(full, axis=0)]
            case Fusion.MAXIMUM:
                return [np.max(full, axis=0)]


def candidates(backbones: Sequence[str]) -> Iterator[Candidate]:
    """Every backbone alone, and every pair in all fusions that pooled features allow."""
    for pooling in (Pooling.AVERAGE, Pooling.MAXIMUM):
        elementwise = Fusion.AVERAGE if pooling is Pooling.AVERAGE else Fusion.MAXIMUM
        for backbone in backbones:
            yield Candidate((backbone,), pooling)
        for pair in combinations(backbones, 2):
            for fusion in (Fusion.CONCATENATE, elementwise, Fusion.LATE):
                yield Candidate(pair, pooling, fusion)


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """Logits of pictures whose sources were not in the training set, their best temperature, and their scores. For the
    scores, each fold is scaled by the temperature of the others, so that calibration too is measured on new data."""

    logits: Logits
    labels: NDArray[np.int64]
    temperature: float
    scores: Scores


def cross_validate(
    examples: Sequence[Example], inputs: Sequence[NDArray[np.float32]], recipe: HeadRecipe, *, folds: int = FOLDS
) -> Validation:
    """Validation of a candidate. With more folds, each head is closer to the head fitted on all pictures."""
    fold = source_folds(examples, folds)
    labels = np.array([example.label for example in examples])
    logits = np.zeros((len(examples), 9), np.float32)
    for at in range(folds):
        kept, left_out = np.flatnonzero(fold != at).tolist(), np.flatnonzero(fold == at).tolist()
        if left_out:
            heads = fit_heads([examples[place] for place in kept], [each[kept] for each in inputs], recipe)
            logits[left_out] = judge(heads, [each[left_out] for each in inputs])
    judged = fold >= 0
    return _validation(logits[judged], labels[judged], fold[judged], supported(support(examples)))


def _validation(
    logits: Logits, labels: NDArray[np.int64], fold: NDArray[np.int64], learned: frozenset[Category]
) -> Validation:
    given = np.zeros_like(logits)
    for at in np.unique(fold):
        inside, outside = fold == at, fold != at
        given[inside] = probabilities(logits[inside], fit_temperature(logits[outside], labels[outside]))
    return Validation(logits, labels, fit_temperature(logits, labels), score(given, labels, learned))


def fit_heads(
    examples: Sequence[Example], inputs: Sequence[NDArray[np.float32]], recipe: HeadRecipe
) -> tuple[LinearHead, ...]:
    labels = np.array([example.label for example in examples])
    weights = balanced_weights(examples, classes=recipe.class_balance, sources=recipe.source_balance)
    return tuple(fit_head(each, labels, weights, penalty=recipe.penalty) for each in inputs)


def judge(heads: Sequence[LinearHead], inputs: Sequence[NDArray[np.float32]]) -> Logits:
    """Logits of the fixed views; two heads are fused late."""
    logits = [head(each[:, :FIXED_VIEWS]) for head, each in zip(heads, inputs, strict=True)]
    if len(logits) == 1:
        return logits[0]
    mean = np.mean([probabilities(each) for each in logits], axis=0)
    return np.asarray(np.log(mean + 1e-12), np.float32)


def comparison(rows: Sequence[tuple[Candidate, Scores]]) -> str:
    """Scores of the candidates as Markdown, the best top-1 first."""
    lines = ["| network | top-1 | macro recall | coverage | right if covered | ECE | any violation |"]
    lines.append("|---" * 7 + "|")
    for candidate, scores in sorted(rows, key=lambda row: -row[1].top_1.value):
        shares = (scores.covered.value, scores.right_if_covered.value, scores.calibration_error)
        figures = (scores.top_1.value, scores.macro_recall, *shares, scores.any_violation.value)
        lines.append(f"| {candidate} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")
    return "\n".join(lines)
