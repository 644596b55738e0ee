"""Convolutional trunks without their classifiers, each of which normalises its input as it was pre-trained."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.partial_conv import IMAGENET_MEAN, IMAGENET_STD

VGG_BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
RESNET50_BLOCKS = (3, 4, 6, 3)
# The Lite variants were trained on (x - 127) / 128 in 0..255.
LITE_MEAN, LITE_STD = [127 / 255] * 3, [128 / 255] * 3


class Trunk(nn.Module, ABC):
    """(b, 3, h, w) sRGB in 0..1 to a feature map (b, channels, h / 32, w / 32).

    `last` are the layers that fine-tuning trains, the deepest first.
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
        # Not saved, so that the names are those of torchvision's state dicts.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    @abstractmethod
    def last(self) -> Sequence[nn.Module]: ...

    def forward(self, image: Tensor) -> Tensor:
        return self.encode((image - self.mean) / self.std)

    @abstractmethod
    def encode(self, normalised: Tensor) -> Tensor: ...


class Vgg(Trunk):
    """VGG-16 or VGG-19 (Simonyan and Zisserman, 2015) up to its fifth pooling; names as in torchvision."""

    def __init__(self, name: str) -> None:
        super().__init__(VGG_WIDTHS[-1])
        layers: list[nn.Module] = []
        channels = 3
        for count, width in zip(VGG_BLOCKS[name], VGG_WIDTHS, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    @property
    def last(self) -> Sequence[nn.Module]:
        return [layer for layer in reversed(self.features) if isinstance(layer, nn.Conv2d)]

    def encode(self, normalised: Tensor) -> Tensor:
        return cast(Tensor, self.features(normalised))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut; the stride is on the 3x3, as in torchvision."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def narrow(self, level: Tensor) -> Tensor:
        """The output of the 3x3 convolution: (b, width, h, w)."""
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(level))))))

    def forward(self, level: Tensor) -> Tensor:
        shortcut = level if self.downsample is None else self.downsample(level)
        return F.relu(self.bn3(self.conv3(self.narrow(level))) + shortcut)


class ResNet50(Trunk):
    """ResNet-50 (He et al., 2016); names as in torchvision.

    Narrow, it ends at the 512 channels of its last 3x3 convolution, which can be averaged with VGG's.
    """

    def __init__(self, *, narrow: bool = False) -> None:
        super().__init__(512 if narrow else 2048)
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for at, count in enumerate(RESNET50_BLOCKS):
            width = 64 * 2**at
            strides = [1 if at == 0 else 2] + [1] * (count - 1)
            inputs = [channels] + [4 * width] * (count - 1)
            blocks = [Bottleneck(each, width, stride) for each, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{at + 1}", nn.Sequential(*blocks))
            channels = 4 * width
        self.is_narrow = narrow

    @property
    def last(self) -> Sequence[nn.Module]:
        return list(reversed(cast(nn.Sequential, self.layer4)))

    def encode(self, normalised: Tensor) -> Tensor:
        level = self.maxpool(F.relu(self.bn1(self.conv1(normalised))))
        for at in range(1, len(RESNET50_BLOCKS)):
            level = getattr(self, f"layer{at}")(level)
        *blocks, last = cast(nn.Sequential, self.layer4)
        for block in blocks:
            level = block(level)
        return cast(Bottleneck, last).narrow(level) if self.is_narrow else cast(Tensor, last(level))


class LiteBody(Protocol):
    """What efficientnet_lite_pytorch builds."""

    _conv_stem: nn.Module
    _bn0: nn.Module
    _swish: nn.Module
    _blocks: nn.ModuleList
    _conv_head: nn.Module
    _bn1: nn.Module


class EfficientNetLite(Trunk):
    """EfficientNet-Lite (Tan and Le, 2019; the Lite variants of Google) up to its last convolution.

    Names as in efficientnet_lite_pytorch.
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


TRUNKS = ("vgg16", "vgg19", "resnet50", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")


def build_trunk(name: str, *, narrow: bool = False) -> Trunk:
    """An untrained trunk by name; `narrow` matters to ResNet-50 alone. ValueError for a name that is not known."""
    if name in VGG_BLOCKS:
        return Vgg(name)
    if name == "resnet50":
        return ResNet50(narrow=narrow)
    if name in TRUNKS:
        return EfficientNetLite(name)
    raise ValueError(f"no backbone named {name!r}; there are {', '.join(TRUNKS)}")
