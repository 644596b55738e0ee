"""Networks assembled from pre-trained trunks and heads fitted on their features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from sightline.api.screening import Category
from sightline.networks.backbones import load_trunk
from sightline.networks.hra_cnn import Head, HraCnn, HraConfig
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.hra_screening.config import network_from
from sightline.training.hra_screening.heads import LinearHead


@dataclass(frozen=True, slots=True, eq=False)
class ScreeningModel:
    """A calibrated network. `support` is the number of training pictures of each class."""

    network: HraCnn
    temperature: float
    support: dict[Category, int]

    def save(self, path: Path) -> None:
        save_checkpoint(
            path,
            {
                "config": {"network": asdict(self.network.config)},
                "average": self.network.state_dict(),
                "temperature": self.temperature,
                "support": {str(category): count for category, count in self.support.items()},
            },
        )


def load_model(path: Path) -> ScreeningModel:
    saved = load_checkpoint(path)
    network = HraCnn(network_from(saved["config"]["network"]))
    network.load_state_dict(saved["average"])
    support = {Category(name): int(count) for name, count in saved["support"].items()}
    return ScreeningModel(network.eval(), float(saved["temperature"]), support)


def assemble(config: HraConfig, backbones: Sequence[str], heads: Sequence[LinearHead]) -> HraCnn:
    """A network of pre-trained trunks and linear heads."""
    network = with_trunks(config, backbones)
    for head, fitted in zip(network.heads, heads, strict=True):
        linear = cast(nn.Linear, cast(Head, head).layers[-1])
        linear.weight.data, linear.bias.data = torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias)
    return network.eval()


def with_trunks(config: HraConfig, backbones: Sequence[str]) -> HraCnn:
    network = HraCnn(config)
    for trunk, backbone in zip(network.trunks, backbones, strict=True):
        narrow = bool(getattr(trunk, "is_narrow", False))
        trunk.load_state_dict(load_trunk(backbone, narrow=narrow).state_dict())
    return network
