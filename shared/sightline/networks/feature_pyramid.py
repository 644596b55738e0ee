"""Feature pyramids (Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017) on classifiers' trunks.

The parameters of torchvision's pyramid have other names, so with it the shipped graphs and checkpoints would need a
mapping.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.backbones import RESNET_PARTS, EfficientNetLite, LiteBody, ResNet50, Trunk
from sightline.networks.normalization import fold_norms

STRIDES = (8, 16, 32)


class TrunkLevels(nn.Module):
    """A trunk cut at strides 8, 16 and 32, its batch norms folded into the convolutions before them.

    `stem` ends at stride 8. Detectors do not train batch norms, and folded ones cost no time.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        stem, self.channels, deep = _cut(trunk.eval())
        self.stem, self.deep = stem, nn.ModuleList(deep)
        self.register_buffer("mean", trunk.mean, persistent=False)
        self.register_buffer("std", trunk.std, persistent=False)
        fold_norms(self)

    def shallow(self, image: Tensor) -> Tensor:
        """(b, 3, h, w) sRGB in 0..1 to the level of stride 8."""
        return cast(Tensor, self.stem((image - self.mean) / self.std))

    def forward(self, shallow: Tensor) -> list[Tensor]:
        """The three levels, from the level of stride 8."""
        levels = [shallow]
        for part in self.deep:
            levels.append(part(levels[-1]))
        return levels


def _cut(trunk: Trunk) -> tuple[nn.Sequential, tuple[int, int, int], list[nn.Sequential]]:
    """The stem, the channels of the three levels, and the parts that lead from each level to the next."""
    match trunk:
        case EfficientNetLite():
            return _cut_lite(trunk)
        case ResNet50(is_narrow=False):
            parts = [cast(nn.Sequential, getattr(trunk, name)) for name in RESNET_PARTS]
            stem, deep = nn.Sequential(*parts[:-2]), parts[-2:]
            return stem, (512, 1024, 2048), deep
        case _:
            raise ValueError(
                f"{type(trunk).__name__} has no levels for a feature pyramid; use an EfficientNet-Lite or ResNet-50"
            )


def _cut_lite(trunk: EfficientNetLite) -> tuple[nn.Sequential, tuple[int, int, int], list[nn.Sequential]]:
    body = cast(LiteBody, trunk)
    blocks = list(body._blocks)
    halving = [at for at, block in enumerate(blocks) if _stride(block) == 2]
    ends = (halving[2], halving[3], len(blocks))
    stem = nn.Sequential(body._conv_stem, body._bn0, body._swish, *blocks[: ends[0]])
    deep = [nn.Sequential(*blocks[ends[0] : ends[1]]), nn.Sequential(*blocks[ends[1] :])]
    widths = [cast(nn.Conv2d, blocks[end - 1]._project_conv).out_channels for end in ends]
    return stem, (widths[0], widths[1], widths[2]), deep


def _stride(block: nn.Module) -> int:
    # The package keeps a pair as a list.
    return int(next(iter(cast(nn.Conv2d, block._depthwise_conv).stride)))


class FeaturePyramid(nn.Module):
    """Levels of different channels, fine to coarse, to as many of `width` channels; each adds the coarser levels."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        sides = [lateral(level) for lateral, level in zip(self.lateral, levels, strict=True)]
        for at in range(len(sides) - 1, 0, -1):
            sides[at - 1] = sides[at - 1] + F.interpolate(sides[at], scale_factor=2.0, mode="nearest")
        return [smooth(side) for smooth, side in zip(self.smooth, sides, strict=True)]
