"""Evaluation of an exported file on labelled pictures, in the service's views."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from sightline.api.screening import CATEGORIES
from sightline.inference.contract import read_contract
from sightline.training.hra_screening.calibration import Probabilities, probabilities
from sightline.training.hra_screening.examples import MIN_SUPPORT, Example, supported
from sightline.training.hra_screening.heads import Logits
from sightline.training.hra_screening.scores import Scores, score
from sightline.training.hra_screening.views import FIXED_VIEWS, Views
from sightline.training.photos import Picture, read_rgb


class OnnxScreener:
    """An exported ONNX file as a function on pictures."""

    def __init__(self, weights: Path) -> None:
        contract = read_contract(weights.with_suffix(".toml"))
        assert contract.fixed_size is not None
        self._views = Views(contract.fixed_size[0], FIXED_VIEWS)
        self._session = onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])

    def __call__(self, picture: Picture) -> Logits:
        """Logits (9,): the mean over the whole frame and three squares, each of which the file also mirrors."""
        views = self._views(picture, seed=0)[::2]
        logits = np.asarray(self._session.run(["logits"], {"image": views})[0], np.float32)
        return np.asarray(logits.mean(0), np.float32)


def screen(screener: OnnxScreener, examples: Sequence[Example]) -> Probabilities:
    return probabilities(np.stack([screener(read_rgb(example.path)) for example in examples]))


def evaluate(weights: Path, examples: Sequence[Example]) -> Scores:
    """Scores of the file. The macro recall is over the classes that its contract lists as learned, or over all without
    a list."""
    labels = np.array([example.label for example in examples])
    facts = read_contract(weights.with_suffix(".toml")).facts
    counts = {category: facts.get("support", {}).get(category, MIN_SUPPORT) for category in CATEGORIES}
    return score(screen(OnnxScreener(weights), examples), labels, supported(counts))
