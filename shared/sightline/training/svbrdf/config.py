"""What a run of the material model depends on."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.svbrdf_net import SvbrdfConfig
from sightline.training import schedule
from sightline.training.svbrdf.losses import LossWeights

SHIPPED = SvbrdfConfig((16, 32, 64, 96, 128, 128, 128), (128, 96, 96, 64, 32, 16, 16), out_kernel=3)
"""Narrower than the paper's, to fit the budget of shipped weights."""
PLAIN = SvbrdfConfig(SHIPPED.encoder, SHIPPED.decoder, SHIPPED.out_kernel, types=1, coordinates=False)
"""A U-Net that knows neither where it is nor of which type the material is."""


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    freeze_norm: bool = False
    novel_lights: bool = True
    losses: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    network: SvbrdfConfig = field(default_factory=lambda: SHIPPED)
    stages: tuple[Stage, ...] = ()
    validation_px: int = 256  # what the service shows the network


def config_from(saved: dict[str, Any]) -> TrainConfig:
    """The config out of a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    widths = {name: tuple(saved["network"][name]) for name in ("encoder", "decoder")}
    network = SvbrdfConfig(**saved["network"] | widths)
    return TrainConfig(**saved | {"network": network, "stages": stages})
