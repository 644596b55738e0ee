"""HRA-CNN: one or two trunks, fused early or late, pooled and classified into nine classes.

Kalliatakis, Ehsan, Leonardis, Fasli, McDonald-Maier, "Exploring object-centric and scene-centric CNN features and their
complementarity for human rights violations recognition in images", IEEE Access 7, 2019, arXiv:1805.04714.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.api.screening import CATEGORIES
from sightline.networks.backbones import ResNet50, Trunk, Vgg, build_trunk

CLASSES = len(CATEGORIES)
MIN_PROBABILITY = 1e-12


class Pooling(StrEnum):
    """Reduction of the feature map before the first linear layer."""

    AVERAGE = "average"
    MAXIMUM = "maximum"
    FLATTEN = "flatten"


class Fusion(StrEnum):
    """Fusion of two trunks: of their feature maps (early), or of their probabilities by the mean (late)."""

    CONCATENATE = "concatenate"
    AVERAGE = "average"
    MAXIMUM = "maximum"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class HraConfig:
    """Configuration of the network.

    `backbones` are one trunk, or an object-centric and a scene-centric one. `hidden=None` is a linear classifier.
    """

    backbones: tuple[str, ...] = ("vgg16",)
    fusion: Fusion = Fusion.CONCATENATE
    pooling: Pooling = Pooling.AVERAGE
    hidden: int | None = 256
    dropout: float = 0.5
    image_px: int = 224

    def __post_init__(self) -> None:
        if len(self.backbones) not in (1, 2):
            raise ValueError(f"a network has one or two backbones, not {len(self.backbones)}")
        if self.image_px % Trunk.stride:
            raise ValueError(f"image_px must be a multiple of {Trunk.stride}, not {self.image_px}")

    @property
    def cells(self) -> int:
        """Number of rows and of columns of the feature map."""
        return self.image_px // Trunk.stride


class Head(nn.Module):
    """Pooling, FC1 with ReLU and dropout unless the head is linear, and the logits of the nine classes."""

    def __init__(self, channels: int, config: HraConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        inputs = channels * config.cells**2 if config.pooling is Pooling.FLATTEN else channels
        if config.hidden is None:
            self.layers = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(inputs, CLASSES))
        else:
            hidden = [nn.Linear(inputs, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            self.layers = nn.Sequential(*hidden, nn.Linear(config.hidden, CLASSES))

    def pool(self, features: Tensor) -> Tensor:
        """(b, channels, h, w) to the classifier's inputs (b, channels), or (b, channels * h * w) if flattened."""
        match self.pooling:
            case Pooling.AVERAGE:
                return features.mean((2, 3))
            case Pooling.MAXIMUM:
                return features.amax((2, 3))
            case Pooling.FLATTEN:
                return features.flatten(1)

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.layers(self.pool(features)))

    def activation(self, features: Tensor) -> Tensor:
        """(b, channels, h, w) to (b, classes, h, w): the logits of each position alone.

        For a linear classifier on the average this is the class activation map (Zhou et al., CVPR 2016), whose mean is
        the logits. ValueError for flattened maps, because each of their positions has other weights.
        """
        if self.pooling is Pooling.FLATTEN:
            raise ValueError("a flattened feature map has no class activation map")
        return cast(Tensor, self.layers(features.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class HraCnn(nn.Module):
    """(b, 3, h, w) sRGB in 0..1 to logits (b, 9): a single network, or the two streams of the CompoundNet."""

    def __init__(self, config: HraConfig) -> None:
        super().__init__()
        self.config = config
        two = len(config.backbones) == 2
        late = two and config.fusion is Fusion.LATE
        # Early fusion needs equal channels: ResNet-50 has those of VGG at its last 3x3 convolution.
        trunks = [build_trunk(name, narrow=two and not late) for name in config.backbones]
        self.trunks = nn.ModuleList(trunks)
        self.heads = nn.ModuleList(Head(channels, config) for channels in _head_channels(trunks, config, late=late))

    @property
    def streams(self) -> list[Trunk]:
        return [cast(Trunk, trunk) for trunk in self.trunks]

    def features(self, image: Tensor) -> list[Tensor]:
        """The feature map of each head."""
        maps = [trunk(image) for trunk in self.trunks]
        return maps if len(self.heads) == len(maps) else [fuse(maps, self.config.fusion)]

    def forward(self, image: Tensor) -> Tensor:
        return self.classify(self.features(image))

    def classify(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (b, 9); with late fusion, the logarithms of the mean probabilities."""
        logits = [head(each) for head, each in zip(self.heads, features, strict=True)]
        return logits[0] if len(logits) == 1 else mean_probabilities(logits)

    def activation(self, features: Sequence[Tensor]) -> Tensor:
        """Class activation maps (b, 9, h, w); with late fusion, the mean of both networks' maps."""
        maps = [cast(Head, head).activation(each) for head, each in zip(self.heads, features, strict=True)]
        return torch.stack(maps).mean(0)

    def embedding(self, features: Sequence[Tensor]) -> Tensor:
        """Embedding (b, channels of all heads) of unit length, for search by cosine similarity."""
        return F.normalize(torch.cat([each.mean((2, 3)) for each in features], dim=1), dim=1)


def fuse(maps: Sequence[Tensor], fusion: Fusion) -> Tensor:
    """Early fusion of feature maps of equal height and width."""
    match fusion:
        case Fusion.CONCATENATE:
            return torch.cat(list(maps), dim=1)
        case Fusion.AVERAGE:
            return torch.stack(list(maps)).mean(0)
        case Fusion.MAXIMUM:
            return torch.stack(list(maps)).amax(0)
        case Fusion.LATE:
            raise ValueError("late fusion combines probabilities, not feature maps; use `mean_probabilities`")


def mean_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Logarithms of the networks' mean probabilities; they serve as logits, as their softmax is those probabilities."""
    return torch.stack([each.softmax(1) for each in logits]).mean(0).clamp_min(MIN_PROBABILITY).log()


def _head_channels(trunks: Sequence[Trunk], config: HraConfig, *, late: bool) -> list[int]:
    """Channels of each head's feature map."""
    channels = [trunk.channels for trunk in trunks]
    if late or len(trunks) == 1:
        return channels
    if config.fusion is Fusion.CONCATENATE:
        return [sum(channels)]
    if len(set(channels)) > 1:
        names = " and ".join(config.backbones)
        raise ValueError(f"{config.fusion} fusion needs equally many channels, but {names} have {channels}")
    return channels[:1]


def freeze_trunks(network: HraCnn) -> None:
    """Freezes the trunks, so that only the heads are trained (phase A of the paper, feature extraction)."""
    network.requires_grad_(True)
    network.trunks.requires_grad_(False)


def unfreeze_last_layers(network: HraCnn) -> None:
    """Unfreezes the last convolutions of each trunk beside the heads (phase B of the paper, fine-tuning)."""
    freeze_trunks(network)
    for trunk in network.streams:
        for layer in trunk.last[: _layers_to_unfreeze(trunk, network.config.pooling)]:
            layer.requires_grad_(True)


def _layers_to_unfreeze(trunk: Trunk, pooling: Pooling) -> int:
    """Number of layers as in the paper: two convolutions of VGG (one if flattened), or ResNet's last block."""
    if isinstance(trunk, Vgg):
        return 1 if pooling is Pooling.FLATTEN else 2
    return 1 if isinstance(trunk, ResNet50) else 2


def set_training(network: HraCnn) -> None:
    """Sets training mode, except for frozen layers, so that frozen batch norms keep their statistics."""
    network.train()
    for module in network.trunks.modules():
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()


def trainable_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


class BaselineCnn(nn.Module):
    """The paper's network from scratch: (b, 3, 224, 224) sRGB in 0..1 to logits (b, 9)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, width in ((3, 32), (32, 32), (32, 64)):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(64 * 28 * 28, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, CLASSES)
        )

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.classifier(self.features(image)))
