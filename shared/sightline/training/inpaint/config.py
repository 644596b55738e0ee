"""What a training run depends on."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.partial_conv import PartialConvConfig
from sightline.training.inpaint.losses import LossWeights
from sightline.training.runtime import Precision


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run. `minutes` of training time, not of the clock: a resumed stage uses what is left."""

    minutes: float
    crop_px: int
    batch_size: int
    learning_rate: float
    final_learning_rate: float = 1e-6
    freeze_encoder_norm: bool = False
    losses: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything a run depends on; saved inside its checkpoints."""

    train_store: str
    validation_folder: str
    out_folder: str
    network: PartialConvConfig = field(default_factory=lambda: PartialConvConfig(levels=7, base_width=32))
    stages: tuple[Stage, ...] = ()
    backbone: str = "efficientnet-lite0"
    seed: int = 0
    validate_every_minutes: float = 5.0
    save_every_minutes: float = 2.0
    precision: Precision | None = None
    start_weights: str | None = None


def config_from(saved: dict[str, Any]) -> TrainConfig:
    """The config out of a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    return TrainConfig(**saved | {"network": PartialConvConfig(**saved["network"]), "stages": stages})
