"""Configuration of an inpainting run."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.partial_conv import PartialConvConfig
from sightline.training import schedule
from sightline.training.inpaint.losses import LossWeights


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    freeze_encoder_norm: bool = False
    losses: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    network: PartialConvConfig = field(default_factory=lambda: PartialConvConfig(levels=7, base_width=32))
    stages: tuple[Stage, ...] = ()
    backbone: str = "efficientnet-lite0"


def config_from(saved: dict[str, Any]) -> TrainConfig:
    """The configuration from a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    return TrainConfig(**saved | {"network": PartialConvConfig(**saved["network"]), "stages": stages})
