"""Configuration of a run of the material model."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sightline.networks.svbrdf_net import SvbrdfConfig
from sightline.training import schedule
from sightline.training.svbrdf.losses import LossWeights

SHIPPED = SvbrdfConfig((16, 32, 64, 96, 128, 128, 128), (128, 96, 96, 64, 32, 16, 16), out_kernel=3)
"""Narrower than the paper's, to fit the budget of shipped weights."""


class Variant(StrEnum):
    """Ablations. `plain` is a U-Net without coordinates, material types and rendering loss."""

    FULL = "full"
    NO_RENDERING_LOSS = "no-rendering-loss"
    NO_CLASSIFIER = "no-classifier"
    PLAIN = "plain"

    @property
    def network(self) -> SvbrdfConfig:
        whole = self in (Variant.FULL, Variant.NO_RENDERING_LOSS)
        return SHIPPED if whole else replace(SHIPPED, types=1, coordinates=self is not Variant.PLAIN)

    @property
    def losses(self) -> LossWeights:
        renders = self in (Variant.FULL, Variant.NO_CLASSIFIER)
        return LossWeights() if renders else LossWeights(rendering=0.0)


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
    """The configuration from a checkpoint's dictionary."""
    stages = tuple(Stage(**stage | {"losses": LossWeights(**stage["losses"])}) for stage in saved["stages"])
    widths = {name: tuple(saved["network"][name]) for name in ("encoder", "decoder")}
    network = SvbrdfConfig(**saved["network"] | widths)
    return TrainConfig(**saved | {"network": network, "stages": stages})
