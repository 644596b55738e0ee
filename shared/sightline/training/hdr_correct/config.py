"""What a run of the exposure correction depends on."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.drht import DrhtConfig
from sightline.training import schedule
from sightline.training.hdr_correct.losses import LossWeights

SHIPPED = DrhtConfig(kernels=(1, 5, 5, 3, 3, 3), widths=(32, 48, 96, 192, 192, 320))
"""Narrower than the paper's, to fit the budget of shipped weights."""


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    freeze_norm: bool = False
    losses: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    network: DrhtConfig = field(default_factory=lambda: SHIPPED)
    stages: tuple[Stage, ...] = ()
    scene_store: str | None = None


def config_from(saved: dict[str, Any]) -> TrainConfig:
    """The config out of a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    network = DrhtConfig(**{name: tuple(values) for name, values in saved["network"].items()})
    return TrainConfig(**saved | {"network": network, "stages": stages})
