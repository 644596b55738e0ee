"""Evaluation of the service on labelled pictures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.api.media_types import JSON
from sightline.api.screening import CATEGORIES
from sightline.inference.contract import read_contract
from sightline.training.hra_screening.calibration import Probabilities
from sightline.training.hra_screening.examples import MIN_SUPPORT, Example, supported
from sightline.training.hra_screening.scores import Scores, score
from sightline.training.served_model import ServedModel


@dataclass(frozen=True, slots=True)
class ServiceScreener:
    """The service as a function on picture files, which are sent as they are: decoding is part of what is measured."""

    model: ServedModel

    def __call__(self, path: Path) -> Probabilities:
        """Probabilities (9,) of a picture. Raises ValueError where the service cannot read it."""
        (result,) = json.loads(self.model({"image": path.read_bytes()}, JSON))["results"]
        if "problem" in result:
            raise ValueError(f"{path}: {result['problem']['detail']}")
        return np.array([result["probabilities"][category] for category in CATEGORIES], np.float32)


def evaluate(screener: ServiceScreener, examples: Sequence[Example], weights: Path) -> Scores:
    """Scores of the service. The macro recall is over the classes that the contract of the weights lists as learned, or
    over all without a list."""
    given = np.stack([screener(example.path) for example in examples])
    labels = np.array([example.label for example in examples])
    facts = read_contract(weights.with_suffix(".toml")).facts
    counts = {category: facts.get("support", {}).get(category, MIN_SUPPORT) for category in CATEGORIES}
    return score(given, labels, supported(counts))
