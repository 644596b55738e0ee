"""Average precision of ranked findings, as PASCAL VOC defines it since 2010 and as it did before."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def average_precision(right: ArrayLike, scores: ArrayLike, truths: int) -> float:
    """The area under the envelope of precision over recall.

    `right` (n,) tells which findings are true, `scores` (n,) how sure they are; `truths` is what could be found. NaN
    when there was nothing to find.
    """
    if truths == 0:
        return float("nan")
    recall, envelope = _curve(right, scores, truths)
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def eleven_point_precision(right: ArrayLike, scores: ArrayLike, truths: int) -> float:
    """The mean of the envelope at the recalls 0, 0.1, ... 1."""
    if truths == 0:
        return float("nan")
    recall, envelope = _curve(right, scores, truths)
    places = np.searchsorted(recall, np.arange(11) / 10 - 1e-9)
    return float(np.append(envelope, 0.0)[places].mean())


def _curve(right: ArrayLike, scores: ArrayLike, truths: int) -> Curve:
    """Recall after each finding, and the best precision that is reached there or later."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    hits = np.cumsum(np.asarray(right, np.float64)[order])
    precision = hits / np.arange(1, len(hits) + 1)
    return hits / truths, np.maximum.accumulate(precision[::-1])[::-1]
