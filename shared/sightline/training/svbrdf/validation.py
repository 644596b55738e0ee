"""Validation during training on fixed photos of held-out materials, collected and generated."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sightline.training.svbrdf.estimators import NetworkEstimator, median_colour
from sightline.training.svbrdf.evaluate import compare, make_cases, type_accuracy
from sightline.training.svbrdf.materials import TrainingMaterial, read_materials
from sightline.training.svbrdf.procedural.generator import generate_many
from sightline.training.tables import Row

log = logging.getLogger(__name__)
GENERATED = 8
GENERATED_PX = 256
HELD_OUT_SEED = 1  # training materials are of seed 0


class Validator:
    """Returns the negative error of renders of the estimated maps under unseen lights."""

    def __init__(self, folder: Path, size_px: int) -> None:
        self.cases = make_cases(held_out(folder), size_px=size_px)
        _report("median colour", compare({"median": median_colour}, self.cases)[-1])

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        estimate = NetworkEstimator(network, device)
        overall = compare({"network": estimate}, self.cases)[-1]
        _report("network", overall)
        log.info("types right: %.2f", type_accuracy(estimate, self.cases))
        return -overall.figures["render_rmse"]


def held_out(folder: Path) -> Iterator[TrainingMaterial]:
    yield from read_materials(folder, "val")
    yield from generate_many(GENERATED, GENERATED_PX, seed=HELD_OUT_SEED)


def _report(name: str, row: Row) -> None:
    log.info(
        "%s on %d photos: %s",
        name,
        row.cases,
        {key: round(float(np.float64(value)), 4) for key, value in row.figures.items()},
    )
