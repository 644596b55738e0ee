"""Deep reciprocating HDR transformation: a badly exposed photo to its HDR scene and back to a well-exposed photo.

Yang, Xu, Song, Zhang, Wei, Lau: "Image Correction via Deep Reciprocating HDR Transformation", CVPR 2018,
arXiv:1804.04371. The layers are those of the authors' released code, whose HDR half is another network than the
paper's; here both halves are alike, as the paper has it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.normalization import freeze_statistics

ALPHA, GAMMA = 0.03, 0.45
"""The compressed scene is alpha * scene ** gamma (section 3 of the paper)."""
LOG_OFFSET = 1 / 255
NORM_EPSILON = 1e-3

PAPER_KERNELS = (9, 5, 3, 3, 3, 3)
RELEASE_KERNELS = (1, 7, 5, 3, 3, 3)
PAPER_WIDTHS = (64, 64, 128, 256, 256, 512)


@dataclass(frozen=True, slots=True)
class DrhtConfig:
    """Encoder kernels and widths from full resolution down; the decoder mirrors the widths.

    A decoder kernel of 4 avoids the checkerboard artefacts of odd kernels at stride 2. `reciprocal=False` omits the
    first half and the bridge, for ablations.
    """

    kernels: tuple[int, ...] = RELEASE_KERNELS
    decoder_kernels: tuple[int, ...] = (4, 4, 4, 4, 4)
    widths: tuple[int, ...] = PAPER_WIDTHS
    reciprocal: bool = True

    def __post_init__(self) -> None:
        if not len(self.kernels) == len(self.widths) == len(self.decoder_kernels) + 1 >= 2:
            raise ValueError("give as many kernels as widths, at least two, and one decoder kernel less")

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this."""
        return int(2 ** len(self.decoder_kernels))


class Corrected(NamedTuple):
    """Outputs of both halves.

    compressed: (b, 3, h, w), alpha * scene ** gamma, >= 0; photo: (b, 3, h, w) sRGB, not clamped.
    """

    compressed: Tensor
    photo: Tensor


class EncoderLevel(nn.Module):
    """Convolution, batch norm, ELU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)
        self.norm = nn.BatchNorm2d(out_channels, NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return F.elu(self.norm(self.conv(features)))


class DecoderLevel(nn.Module):
    """Transposed convolution to twice the size, batch norm, ELU, and fusion with the encoder's features."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        odd = kernel % 2
        padding = (kernel - 1) // 2
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, kernel, 2, padding, output_padding=odd)
        self.norm = nn.BatchNorm2d(out_channels, NORM_EPSILON)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        features = F.elu(self.norm(self.conv(below)))
        return features + skip + features * skip


class ReciprocalNet(nn.Module):
    """One half: an encoder and decoder whose result is added to a picture of the same size."""

    def __init__(self, config: DrhtConfig) -> None:
        super().__init__()
        widths = (3, *config.widths)
        self.encoder = nn.ModuleList(
            EncoderLevel(widths[at], widths[at + 1], kernel, stride=1 if at == 0 else 2)
            for at, kernel in enumerate(config.kernels)
        )
        down = config.widths[::-1]
        self.decoder = nn.ModuleList(
            DecoderLevel(down[at], down[at + 1], kernel) for at, kernel in enumerate(config.decoder_kernels)
        )
        self.out = nn.Conv2d(config.widths[0], 3, 1)
        self.norm = nn.BatchNorm2d(3, NORM_EPSILON)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, features: Tensor, picture: Tensor) -> Tensor:
        """(b, 3, h, w) each; h and w multiples of the stride. Returns ELU(norm(...) + picture), above -1."""
        skips = []
        for encode in self.encoder:
            features = encode(features)
            skips.append(features)
        features = skips.pop()
        for decode in self.decoder:
            features = decode(features, skips.pop())
        # In full precision, because `expand` and the logarithm amplify rounding errors.
        residual: Tensor = self.norm(self.out(features)).float()
        return F.elu(residual + picture)


class Drht(nn.Module):
    """Both halves and the fixed bridge between them."""

    def __init__(self, config: DrhtConfig) -> None:
        super().__init__()
        self.config = config
        self.to_scene = ReciprocalNet(config) if config.reciprocal else None
        self.to_photo = ReciprocalNet(config)
        self.freeze_norm = False

    def forward(self, photo: Tensor) -> Corrected:
        """photo: (b, 3, h, w) sRGB in 0..1. Without the first half the scene is all 0."""
        if self.to_scene is None:
            return Corrected(torch.zeros_like(photo, dtype=torch.float32), self.to_photo(photo, photo.float()))
        compressed = self.to_scene(photo, photo.float()).clamp_min(0)
        return Corrected(compressed, self.to_photo(log_scene(compressed), compressed))

    def train(self, mode: bool = True) -> "Drht":
        """Sets the mode. With `freeze_norm`, for the last stage, batch norms keep their running statistics, because
        those of a batch depend on the exposure of its other photos."""
        super().train(mode)
        if self.freeze_norm:
            freeze_statistics(self)
        return self


def compress(scene: Tensor) -> Tensor:
    """Compressed scene from linear scene values >= 0."""
    return ALPHA * scene.clamp_min(0) ** GAMMA


def expand(compressed: Tensor) -> Tensor:
    """Linear scene values: the inverse of `compress`, in full precision, as 1 becomes 2,400 times as much as 0.03."""
    return (compressed.float().clamp_min(0) / ALPHA) ** (1 / GAMMA)


def log_scene(compressed: Tensor) -> Tensor:
    """Input of the second half: the logarithm of the scene."""
    return torch.log(expand(compressed) + LOG_OFFSET)
