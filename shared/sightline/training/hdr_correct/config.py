"""Configuration of an exposure correction run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sightline.networks.drht import DrhtConfig
from sightline.training import schedule
from sightline.training.hdr_correct.losses import LossWeights

SHIPPED = DrhtConfig(
    kernels=(1, 5, 3, 3, 3, 3, 3), decoder_kernels=(4, 4, 4, 4, 4, 4), widths=(16, 32, 64, 128, 160, 160, 192)
)
"""Narrower than the paper's and one level deeper, so that the receptive field covers the whole small copy."""


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    freeze_norm: bool = False
    losses: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    network: DrhtConfig = field(default_factory=lambda: SHIPPED)
    stages: tuple[Stage, ...] = ()
    scene_store: str | None = None
    pair_store: str | None = None

    @property
    def data_folders(self) -> Mapping[str, str]:
        stores = {"scene_store": self.scene_store, "pair_store": self.pair_store}
        shared = {"train_store": self.train_store, "validation_folder": self.validation_folder}
        return shared | {name: folder for name, folder in stores.items() if folder}


def config_from(saved: dict[str, Any]) -> TrainConfig:
    """The configuration from a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    lists = {name: tuple(values) for name, values in saved["network"].items() if name != "reciprocal"}
    network = DrhtConfig(**saved["network"] | lists)
    return TrainConfig(**saved | {"network": network, "stages": stages})
