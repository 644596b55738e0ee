"""Batch norm that keeps its statistics."""

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

PAIRS = (
    ("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"),
    ("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"),
)  # fmt: skip
"""A convolution and the batch norm after it, by their names in blocks of EfficientNet-Lite and ResNet."""


def freeze_statistics(module: nn.Module) -> None:
    """To be called after `train()`, which would have every batch norm below use its batch again."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


def fold_norms(module: nn.Module) -> None:
    """Make every batch norm part of the convolution before it: the same function, for good, and a third faster."""
    for part in list(module.modules()):
        names = pairwise(name for name, _ in part.named_children()) if isinstance(part, nn.Sequential) else PAIRS
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
    """EfficientNet-Lite pads by a layer of its own; equal sides the convolution pads itself, without a copy."""
    padding = getattr(convolution, "static_padding", None)
    if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
        convolution.padding = (padding.padding[0], padding.padding[0])
        convolution.static_padding = nn.Identity()
