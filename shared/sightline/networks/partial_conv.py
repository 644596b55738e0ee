"""Partial-convolution U-Net for irregular holes.

Liu, Reda, Shih, Wang, Tao, Catanzaro: "Image Inpainting for Irregular Holes Using Partial Convolutions",
ECCV 2018, arXiv:1804.07723.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.normalization import IMAGENET_MEAN, IMAGENET_STD, freeze_statistics

EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class PartialConvConfig:
    """Size of the network; the paper's has 8 levels and base width 64 at 512 x 512 px."""

    levels: int = 8
    base_width: int = 64

    def __post_init__(self) -> None:
        if self.levels < 2 or self.base_width < 1:
            raise ValueError("a partial-convolution U-Net needs at least 2 levels and a positive base width")

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this."""
        return int(2**self.levels)

    def encoder_widths(self) -> list[int]:
        """Channels after each encoder level: doubled three times, then constant."""
        return [self.base_width * 2 ** min(level, 3) for level in range(self.levels)]

    def encoder_kernels(self) -> list[int]:
        """Kernel size of each encoder level."""
        return [{0: 7, 1: 5, 2: 5}.get(level, 3) for level in range(self.levels)]


@dataclass(frozen=True, slots=True)
class Masked:
    """Features (b, c, h, w) and their validity (b, 1, h, w), 1 = valid; one mask channel serves all c."""

    features: Tensor
    valid: Tensor


class PartialConv2d(nn.Module):
    """Convolution over the valid elements only, rescaled by their share of the window (section 3.1).

    Takes one or more sources with a mask each, as if they were concatenated. The validity mask of a source is
    constant over its channels, so one pooled channel equals the paper's convolution of a multi-channel mask. Pixels
    outside the image count as holes.
    """

    def __init__(self, channels: tuple[int, ...], out_channels: int, kernel: int, *, stride: int, bias: bool) -> None:
        super().__init__()
        self.shares = [count / sum(channels) for count in channels]
        self.conv = nn.Conv2d(sum(channels), out_channels, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(1, out_channels, 1, 1)) if bias else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in")

    def forward(self, *sources: Masked) -> Masked:
        # All sources get one dtype: the full-precision image would make the whole concatenation full precision.
        dtype = sources[0].features.dtype
        inputs = [source.features.to(dtype) * source.valid.to(dtype) for source in sources]
        raw = self.conv(torch.cat(inputs, 1) if len(inputs) > 1 else inputs[0])
        share = self._valid_share(sources)
        valid = (share > EPSILON).to(share.dtype)
        features = raw * (valid / share.clamp_min(EPSILON)).to(raw.dtype)
        if self.bias is not None:
            features = features + self.bias.to(raw.dtype) * valid.to(raw.dtype)
        return Masked(features, valid)

    def _valid_share(self, sources: tuple[Masked, ...]) -> Tensor:
        """The valid share of each window in fp32: counts of up to 9216 elements are not exact in half precision."""
        mixed = sum(source.valid.float() * share for source, share in zip(sources, self.shares, strict=True))
        assert isinstance(mixed, Tensor)
        kernel, stride, padding = self.conv.kernel_size, self.conv.stride, self.conv.padding
        return F.avg_pool2d(mixed, kernel, stride, padding, count_include_pad=True)  # type: ignore[arg-type]


class EncoderLevel(nn.Module):
    """Halves the resolution: partial convolution, batch norm (not in the first level), ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, normalize: bool) -> None:
        super().__init__()
        self.conv = PartialConv2d((in_channels,), out_channels, kernel, stride=2, bias=not normalize)
        self.norm = nn.BatchNorm2d(out_channels) if normalize else nn.Identity()

    def forward(self, source: Masked) -> Masked:
        result: Masked = self.conv(source)
        return Masked(F.relu(self.norm(result.features)), result.valid)


class DecoderLevel(nn.Module):
    """Doubles the resolution and joins the encoder's features: nearest upsampling of features and mask."""

    def __init__(self, below_channels: int, skip_channels: int, out_channels: int, *, last: bool) -> None:
        super().__init__()
        self.conv = PartialConv2d((below_channels, skip_channels), out_channels, 3, stride=1, bias=last)
        self.norm = nn.Identity() if last else nn.BatchNorm2d(out_channels)
        self.last = last

    def forward(self, below: Masked, skip: Masked) -> Masked:
        doubled = Masked(upsample(below.features), upsample(below.valid))
        result: Masked = self.conv(doubled, skip)
        if self.last:
            return result
        return Masked(F.leaky_relu(self.norm(result.features), 0.2), result.valid)


class PartialConvUNet(nn.Module):
    """The paper's network with any number of levels and any base width."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: PartialConvConfig) -> None:
        super().__init__()
        self.config = config
        self.freeze_encoder_norm = False
        widths = [3, *config.encoder_widths()]
        self.encoder = nn.ModuleList(
            EncoderLevel(widths[level], widths[level + 1], kernel, normalize=level > 0)
            for level, kernel in enumerate(config.encoder_kernels())
        )
        self.decoder = nn.ModuleList(
            DecoderLevel(widths[level + 1], widths[level], widths[level] if level else 3, last=level == 0)
            for level in reversed(range(config.levels))
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Predicted pixels, including the known ones.

        image: (b, 3, h, w), sRGB in 0..1; pixels in holes are ignored. valid: (b, 1, h, w), 1 = known, 0 = hole.
        Returns (b, 3, h, w), roughly 0..1 but not clamped, so that losses keep their gradient.
        """
        level = Masked((image - self.mean) / self.std, valid)
        skips = []
        for encode in self.encoder:
            skips.append(level)
            level = encode(level)
        for decode, skip in zip(self.decoder, reversed(skips), strict=True):
            level = decode(level, skip)
        return level.features.float() * self.std + self.mean

    def train(self, mode: bool = True) -> "PartialConvUNet":
        """Sets the mode. With `freeze_encoder_norm`, for stage 2 of the paper, the encoder's batch norms keep their
        running statistics, which holes would distort."""
        super().train(mode)
        if self.freeze_encoder_norm:
            freeze_statistics(self.encoder)
        return self


def upsample(features: Tensor) -> Tensor:
    """(b, c, h, w) to (b, c, 2h, 2w) by the nearest neighbour."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def composite(image: Tensor, predicted: Tensor, valid: Tensor) -> Tensor:
    """Picture with its known pixels from `image` and its holes from `predicted`, all in 0..1."""
    return image * valid + predicted * (1 - valid)
