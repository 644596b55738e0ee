"""Configuration of a screening model, saved in its checkpoint."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.hra_cnn import Fusion, HraConfig, Pooling
from sightline.training import schedule


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """Settings for fitting a head on frozen features.

    `class_balance` and `source_balance` are exponents of one over the size: 0 weights every picture equally, 1 every
    class or source. `views` is the number of views of each picture in training; evaluation uses the fixed ones among
    them.
    """

    views: int = 11
    penalty: float = 0.02
    class_balance: float = 0.85
    source_balance: float = 0.5


SHIPPED = HeadRecipe()


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    """A stage of the training. `fine_tunes` trains the last layers of the trunks beside the heads."""

    fine_tunes: bool = False


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    """Configuration of a run. `everything` trains on the held-out sources too."""

    network: HraConfig = field(default_factory=HraConfig)
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    backbones: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    everything: bool = False


def network_from(saved: dict[str, Any]) -> HraConfig:
    """The network's configuration from a checkpoint's dictionary."""
    known = {"fusion": Fusion(saved["fusion"]), "pooling": Pooling(saved["pooling"])}
    return HraConfig(**saved | known | {"backbones": tuple(saved["backbones"])})
