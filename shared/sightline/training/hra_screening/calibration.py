"""Calibrated probabilities by temperature scaling (Guo et al., ICML 2017), and their calibration error."""

import numpy as np
from numpy.typing import NDArray

from sightline.training.hra_screening.heads import Logits

TEMPERATURES = np.exp(np.linspace(-2.5, 2.5, 501))
BINS = 10

Probabilities = NDArray[np.float32]
"""(examples, 9), each row of sum 1."""


def probabilities(logits: Logits, temperature: float = 1.0) -> Probabilities:
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def fit_temperature(logits: Logits, labels: NDArray[np.int64]) -> float:
    """The temperature with the lowest cross-entropy on pictures outside of the training set."""
    surprise = [-np.log(probabilities(logits, each)[np.arange(len(labels)), labels] + 1e-12) for each in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin([each.mean() for each in surprise]))])


def calibration_error(given: Probabilities, labels: NDArray[np.int64]) -> float:
    """Expected calibration error in 0..1 of the most likely class, over ten equal bins."""
    confidence, right = given.max(1), given.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        abs(right[bins == at].mean() - confidence[bins == at].mean()) * (bins == at).mean() for at in np.unique(bins)
    ]
    return float(sum(gaps))
