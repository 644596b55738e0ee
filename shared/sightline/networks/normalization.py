"""Normalization of inputs by ImageNet's statistics, and batch norms that are frozen or folded into convolutions."""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FOLDED_PAIRS = (
    ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"),
    ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"),
)  # fmt: skip
"""Names of a convolution and of the batch norm after it, in blocks of EfficientNet-Lite and ResNet."""


def freeze_statistics(module: nn.Module) -> None:
    """Makes all batch norms of the module use their running statistics. Call it after `train()`, which undoes it."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def fold_norms(module: nn.Module) -> None:
    """Folds every batch norm into the convolution before it, in place: the same function, a third faster."""
    for part in list(module.modules()):
        names = pairwise(name for name, _ in part.named_children()) if isinstance(part, nn.Sequential) else FOLDED_PAIRS
        for convolution, norm in names:
            _fold(part, convolution, norm)


def _fold(part: nn.Module, convolution: str, norm: str) -> None:
    first, second = getattr(part, convolution, None), getattr(part, norm, None)
    if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
        fused = fuse_conv_bn_eval(first.eval(), second.eval())
        _pad_inside(fused)
        setattr(part, convolution, fused)
        setattr(part, norm, nn.Identity())


def _pad_inside(convolution: nn.Conv2d) -> None:
    """Replaces a padding layer of EfficientNet-Lite by the convolution's padding, which needs no copy."""
    padding = getattr(convolution, "static_padding", None)
    if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
        convolution.padding = (padding.padding[0], padding.padding[0])
        convolution.static_padding = nn.Identity()
