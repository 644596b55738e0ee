"""Training of the base colour model, the perceptron beside the network's file."""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.materials.base_colour import CANDIDATES, CHANNELS, FEATURES, FILLS, OUTPUTS, SCALES
from sightline.materials.maps import Floats
from sightline.training.svbrdf.colour_samples import ColourSample

log = logging.getLogger(__name__)
FILE_NAME = "base_colour.npz"
HIDDEN = 64
PHOTOS_PER_STEP, PIXELS_PER_STEP = 40, 128
LEARNING_RATE, WEIGHT_DECAY, AVERAGE_DECAY = 4e-3, 1e-2, 0.99
PATTERN_WEIGHT, METAL_WEIGHT, GAIN_WEIGHT = 2.0, 0.1, 2e-3
PERMUTED_SHARE = 0.6
ESTIMATE_SPREAD = 0.25
"""Standard deviation of the logarithm that the network's brightness is multiplied by: it knows its training materials
better than others."""
GAMMA = 2.2
MIN_SPREAD = 0.05
AROUND = CHANNELS + 7  # the first feature of the surroundings
MEANS = len(SCALES) + 1
COLOUR_STARTS = (*range(0, CHANNELS, 3), *range(AROUND, AROUND + CHANNELS * MEANS, 3))
ESTIMATE_STARTS = (0, *range(AROUND, AROUND + CHANNELS * MEANS, CHANNELS))


@dataclass(frozen=True, slots=True, eq=False)
class ColourData:
    """All samples: features (photos, n, FEATURES), fills, albedo and metallic."""

    features: Floats
    fills: Floats
    albedo: Floats
    metallic: Floats

    @classmethod
    def collect(cls, samples: Iterable[ColourSample], count: int) -> "ColourData":
        chosen = list(islice(samples, count))
        names = ("features", "fills", "albedo", "metallic")
        return cls(*(np.stack([getattr(each, name) for each in chosen]) for name in names))

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Some pixels of some photos, with their colour channels in another order in most steps."""
        photos = rng.choice(len(self.features), min(PHOTOS_PER_STEP, len(self.features)), replace=False)
        pixels = rng.choice(self.features.shape[1], min(PIXELS_PER_STEP, self.features.shape[1]), replace=False)
        features, fills, albedo, metallic = (
            each[photos][:, pixels] for each in (self.features, self.fills, self.albedo, self.metallic)
        )
        if rng.random() < PERMUTED_SHARE:
            order = rng.permutation(3)
            features = _permuted(features, COLOUR_STARTS, order)
            fills, albedo = _permuted(fills, range(0, 3 * FILLS, 3), order), albedo[..., order]
        else:
            features = features.copy()
        shift = rng.normal(0, ESTIMATE_SPREAD, (len(photos), 1, 1)).astype(np.float32)
        for start in ESTIMATE_STARTS:
            features[..., start : start + 3] += shift
        features_t, fills_t, albedo_t, metallic_t = (
            torch.from_numpy(each) for each in (features, fills, albedo, metallic)
        )
        return features_t, fills_t, albedo_t, metallic_t.clamp(0, 1)


def _permuted(values: Floats, starts: Iterable[int], order: NDArray[np.int64]) -> Floats:
    columns = np.arange(values.shape[-1])
    for start in starts:
        columns[start : start + 3] = start + order
    return values[..., columns]


def fit(data: ColourData, *, steps: int, seed: int = 0) -> dict[str, Floats]:
    """The arrays of a `BaseColourModel`, with the standardisation of the features in the first layer."""
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), _perceptron()
    sample = data.features[:, ::7].reshape(-1, FEATURES)
    centre, spread = sample.mean(axis=0), np.maximum(sample.std(axis=0), MIN_SPREAD)
    shift, scale = torch.from_numpy(centre), torch.from_numpy(spread)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    average = [each.detach().clone() for each in network.parameters()]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, step / 30) * 0.5 * (1 + np.cos(np.pi * step / steps)) + 1e-5
        features, *truth = data.batch(rng)
        loss = colour_loss(network((features - shift) / scale), features, *truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(AVERAGE_DECAY, 1 - 1 / (step + 1))
        for kept, now in zip(average, network.parameters(), strict=True):
            kept.mul_(decay).add_(now.detach(), alpha=1 - decay)
        if step % 100 == 0:
            log.info("step %d: loss %.4f", step, loss.item())
    return _arrays([each.numpy() for each in average], centre, spread)


def _perceptron() -> nn.Sequential:
    last = nn.Linear(HIDDEN, OUTPUTS)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), last)


def colour_loss(values: Tensor, features: Tensor, fills: Tensor, albedo: Tensor, metallic: Tensor) -> Tensor:
    """Squared errors of the colour, of its pattern at the best brightness, and cross-entropy of metallicness."""
    weights, gain = torch.softmax(values[..., :CANDIDATES], -1), values[..., CANDIDATES:-1]
    candidates = torch.cat([features[..., :CHANNELS], fills], -1).unflatten(-1, (CANDIDATES, 3))
    given = torch.exp((gain + (weights[..., None] * candidates).sum(-2)).clamp_max(0))
    ratio = torch.log(albedo.clamp_min(4e-3)) - torch.log(given.clamp_min(4e-3))
    scaled = (given * ratio.mean((1, 2), keepdim=True).exp()).clamp_max(2)
    absolute, pattern = (F.mse_loss(_encoded(each), _encoded(albedo)) for each in (given, scaled))
    metal = F.binary_cross_entropy_with_logits(values[..., -1:], metallic)
    return absolute + PATTERN_WEIGHT * pattern + METAL_WEIGHT * metal + GAIN_WEIGHT * (gain**2).mean()


def _encoded(colour: Tensor) -> Tensor:
    encoded: Tensor = (colour + 2e-3) ** (1 / GAMMA)
    return encoded


def _arrays(parameters: list[Floats], centre: Floats, spread: Floats) -> dict[str, Floats]:
    arrays: dict[str, Floats] = {}
    for at in range(len(parameters) // 2):
        weight, bias = parameters[2 * at].T, parameters[2 * at + 1]
        if at == 0:
            bias = np.asarray(bias - (centre / spread) @ weight, np.float32)
            weight = np.asarray(weight / spread[:, None], np.float32)
        arrays |= {f"weight{at}": weight.astype(np.float32), f"bias{at}": bias.astype(np.float32)}
    return arrays


def write_model(arrays: dict[str, Floats], folder: Path) -> Path:
    """Writes base_colour.npz beside the network and names it in the network's contract, svbrdf.toml."""
    path, contract = folder / FILE_NAME, folder / "svbrdf.toml"
    np.savez(path, **arrays)  # type: ignore[arg-type] # NumPy's stubs take the names for its own options
    text = re.sub(rf'^"{path.name}" = .*\n', "", contract.read_text(), flags=re.MULTILINE).rstrip()
    if "[parts]" not in text:
        text = text.replace("\n[inputs.photo]", f'\n[parts]\nbase_colour = "{path.name}"\n\n[inputs.photo]', 1)
    contract.write_text(f'{text}\n"{path.name}" = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n')
    return path
