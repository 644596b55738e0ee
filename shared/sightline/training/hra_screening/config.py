"""Configuration of a screening model, saved in its checkpoint."""

from dataclasses import dataclass, field
from typing import Any

from sightline.networks.hra_cnn import Fusion, HraConfig, Pooling
from sightline.training import schedule


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """Settings for fitting a head on frozen features.

    `class_balance` and `source_balance` are powers of one over the size: 0 counts every picture alike, 1 every class or
    source. `views` are seen of each picture, the fixed ones of them also when it is judged.
    """

    views: int = 11
    penalty: float = 0.02
    class_balance: float = 0.85
    source_balance: float = 0.5


SHIPPED = HeadRecipe()


@dataclass(frozen=True, slots=True)
class Stage(schedule.Stage):
    """`fine_tunes`: whether the last layers of the trunks are trained as well as the heads."""

    fine_tunes: bool = False


@dataclass(frozen=True, slots=True)
class TrainConfig(schedule.Run):
    """`everything`: whether the sources that are held out for measuring are trained on too."""

    network: HraConfig = field(default_factory=HraConfig)
    recipe: HeadRecipe = field(default_factory=HeadRecipe)
    backbones: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    everything: bool = False


def network_from(saved: dict[str, Any]) -> HraConfig:
    """The network's part out of a checkpoint's dictionary."""
    known = {"fusion": Fusion(saved["fusion"]), "pooling": Pooling(saved["pooling"])}
    return HraConfig(**saved | known | {"backbones": tuple(saved["backbones"])})
