"""SVBRDF-Net: a flash photo of a surface to its diffuse albedo, normals and roughness.

Li, Sunkavalli, Chandraker: "Materials for Masses: SVBRDF Acquisition with a Single Mobile Phone Image", ECCV 2018,
arXiv:1804.05790. The layers follow the first author's released code for the paper's successor, with one level more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.normalization import freeze_statistics
from sightline.networks.rendering import log_radiance

TYPES = ("fabric", "ground", "leather", "metal", "polymer", "stone_diffuse", "stone_specular", "wood")
METAL = TYPES.index("metal")
HIDDEN = 256
DROPOUT = 0.25
MIN_NORMAL_Z = 1e-3
MIDDLE_GREY = 0.18
MIN_LIGHT = 1e-3


@dataclass(frozen=True, slots=True)
class SvbrdfConfig:
    """Widths of the encoder from half resolution down, and of each decoder from the bottleneck up.

    Each decoder predicts maps for each of `types` material types, which the classifier mixes; with one type there is no
    classifier. `coordinates` adds the position in the photo to the input.
    """

    encoder: tuple[int, ...] = (32, 64, 128, 256, 256, 512, 512)
    decoder: tuple[int, ...] = (512, 256, 256, 128, 64, 32, 64)
    out_kernel: int = 5
    types: int = len(TYPES)
    coordinates: bool = True

    def __post_init__(self) -> None:
        if not len(self.encoder) == len(self.decoder) >= 1 or self.types < 1:
            raise ValueError("give as many decoder levels as encoder levels, at least one, and at least one type")

    @property
    def stride(self) -> int:
        """Height and width of the input must be multiples of this."""
        return int(2 ** len(self.encoder))


class Svbrdf(NamedTuple):
    """Estimated maps.

    albedo: (b, 3, h, w) linear in 0..1; normal: (b, 3, h, w) of unit length with z > 0; roughness: (b, 1, h, w) in
    0..1; logits: (b, types) of the material types.
    """

    albedo: Tensor
    normal: Tensor
    roughness: Tensor
    logits: Tensor


class EncoderLevel(nn.Module):
    """Strided convolution to half the size, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, 2, (kernel - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(features))
        return F.relu(normed)


class DecoderLevel(nn.Module):
    """Transposed convolution to twice the size, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.conv(features))
        return F.relu(normed)


class Decoder(nn.Module):
    """Decoder of one kind of map, with skip connections, to `channels` channels for each material type."""

    def __init__(self, config: SvbrdfConfig, channels: int) -> None:
        super().__init__()
        self.types = config.types
        skips = (0, *config.encoder[-2::-1])
        below = (config.encoder[-1], *config.decoder[:-1])
        self.levels = nn.ModuleList(
            DecoderLevel(width + skip, out) for width, skip, out in zip(below, skips, config.decoder, strict=True)
        )
        self.out = nn.Conv2d(config.decoder[-1], channels * self.types, config.out_kernel, 1, config.out_kernel // 2)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Maps (b, types, channels, h, w) in full precision, from the encoder's features, fine to coarse."""
        first, *others = self.levels
        features = first(pyramid[-1])
        for level, skip in zip(others, pyramid[-2::-1], strict=True):
            features = level(torch.cat([features, skip], 1))
        maps: Tensor = self.out(features).float()
        by_type: Tensor = maps.unflatten(1, (self.types, maps.shape[1] // self.types))
        return by_type


class Classifier(nn.Module):
    """Logits (b, types) of the material types, from the mean of the bottleneck."""

    def __init__(self, width: int, types: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(HIDDEN, types)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.hidden(features.mean((2, 3)))))
        logits: Tensor = self.out(hidden)
        return logits.float()


class SvbrdfNet(nn.Module):
    """One encoder, a decoder for each kind of map, and the classifier that mixes the maps of the material types."""

    def __init__(self, config: SvbrdfConfig) -> None:
        super().__init__()
        self.config = config
        self.freeze_norm = False
        widths = (6 if config.coordinates else 3, *config.encoder)
        self.encoder = nn.ModuleList(
            EncoderLevel(widths[at], widths[at + 1], 6 if at == 0 else 4) for at in range(len(config.encoder))
        )
        self.albedo, self.normal, self.roughness = (Decoder(config, channels) for channels in (3, 3, 1))
        self.classifier = Classifier(config.encoder[-1], config.types) if config.types > 1 else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
        for decoder in (self.albedo, self.normal, self.roughness):
            # The initial maps are grey, flat and half rough.
            nn.init.normal_(decoder.out.weight, std=0.01)
            nn.init.zeros_(decoder.out.bias)  # type: ignore[arg-type] # the bias is not None

    def forward(self, photo: Tensor, coordinates: Tensor) -> Svbrdf:
        """Estimated maps of each photo.

        photo: (b, 3, h, w) linear light >= 0 in any exposure; coordinates: (b, 2, h, w), x (right) and y (up) of each
        pixel on the plane at distance 1 from the camera, 0 on its axis.
        """
        pyramid = self._encode(photo, coordinates)
        logits = self._classify(pyramid[-1])
        weights = torch.softmax(logits, 1)[:, :, None, None, None]
        albedo = torch.sigmoid(self.albedo(pyramid))
        normal = face_camera(self.normal(pyramid))
        roughness = torch.sigmoid(self.roughness(pyramid))
        mixed = [(weights * maps).sum(1) for maps in (albedo, normal, roughness)]
        return Svbrdf(mixed[0], unit(mixed[1]), mixed[2], logits)

    def _encode(self, photo: Tensor, coordinates: Tensor) -> list[Tensor]:
        features = log_radiance(normalize_exposure(photo))
        if self.config.coordinates:
            distance = torch.sqrt((coordinates**2).sum(1, keepdim=True))
            features = torch.cat([features, coordinates, distance], 1)
        pyramid = []
        for encode in self.encoder:
            features = encode(features)
            pyramid.append(features)
        return pyramid

    def _classify(self, features: Tensor) -> Tensor:
        if self.classifier is None:
            return torch.zeros_like(features[:, :1].mean((2, 3)), dtype=torch.float32)
        logits: Tensor = self.classifier(features)
        return logits

    def train(self, mode: bool = True) -> "SvbrdfNet":
        """Sets the mode. With `freeze_norm`, for the last stage, batch norms keep their running statistics, because
        those of small batches are noisy."""
        super().train(mode)
        if self.freeze_norm:
            freeze_statistics(self)
        return self


def normalize_exposure(photo: Tensor) -> Tensor:
    """Linear light scaled to a log-average of middle grey, on which highlights have little influence."""
    logs = torch.log(photo.float().mean(1, keepdim=True) + MIN_LIGHT)
    return photo * (MIDDLE_GREY / torch.exp(logs.mean((2, 3), keepdim=True)))


def face_camera(raw: Tensor) -> Tensor:
    """Unbounded (b, types, 3, h, w) to vectors with z > 0: a visible surface faces the camera."""
    sideways, ahead = raw[:, :, :2], raw[:, :, 2:]
    return torch.cat([torch.tanh(sideways), torch.sigmoid(ahead) + MIN_NORMAL_Z], 2)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (b, 3, h, w) divided by their lengths."""
    return vectors * torch.rsqrt((vectors**2).sum(1, keepdim=True) + 1e-6)
