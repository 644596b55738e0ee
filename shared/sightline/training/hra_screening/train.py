"""The paper's two phases: training of the heads on frozen trunks, then also of the last layers of the trunks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.hra_cnn import HraCnn, freeze_trunks, set_training, unfreeze_last_layers
from sightline.training import loop
from sightline.training.checkpoints import load_checkpoint
from sightline.training.data import Arrays, Samples, batches
from sightline.training.hra_screening.calibration import fit_temperature
from sightline.training.hra_screening.config import Stage, TrainConfig
from sightline.training.hra_screening.examples import Example, read_examples, support
from sightline.training.hra_screening.fitting import ScreeningModel, with_trunks
from sightline.training.hra_screening.splits import FOLDS, balanced_weights, hold_out, source_folds
from sightline.training.hra_screening.views import Views
from sightline.training.photos import read_rgb

VALIDATION_BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class Batch:
    """image: (b, 3, h, w) sRGB in 0..1; label: (b,)."""

    image: Tensor
    label: Tensor

    @classmethod
    def of(cls, pixels: Tensor, label: Tensor) -> "Batch":
        return cls(pixels.permute(0, 3, 1, 2).float() / 255, label)

    def to(self, device: torch.device) -> "Batch":
        image = self.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        return Batch(image, self.label.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class RandomViews:
    """Draws random views of pictures by their sampling weights."""

    examples: Sequence[Example]
    sampling_weights: Sequence[float]
    px: int

    def __call__(self, rng: np.random.Generator) -> Arrays:
        example = self.examples[int(rng.choice(len(self.examples), p=self.sampling_weights))]
        view = Views(self.px, 1).augmented(Image.fromarray(read_rgb(example.path)), rng)
        return np.array(view, np.uint8), np.array(example.label)


class ScreeningTask:
    """Labelled pictures for the two-phase transfer learning; `train_store` is their folder."""

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        self.config, self.stages = config, config.stages
        self.network = with_trunks(config.network, config.backbones)
        self.examples, self.validation = part(read_examples(Path(config.train_store)), everything=config.everything)

    def begin_stage(self, stage: Stage, _device: torch.device) -> None:
        (unfreeze_last_layers if stage.fine_tunes else freeze_trunks)(self.network)
        set_training(self.network)

    def batches(self, stage: Stage, *, start: int, step: int) -> Iterator[Batch]:
        recipe = self.config.recipe
        weights = balanced_weights(self.examples, classes=recipe.class_balance, sources=recipe.source_balance)
        sampling_weights = (weights.astype(np.float64) / weights.sum(dtype=np.float64)).tolist()
        make = RandomViews(self.examples, sampling_weights, stage.crop_px)
        samples = Samples(make, seed=self.config.seed, start=start, step=step)
        return (Batch.of(*arrays) for arrays in batches(samples, stage.batch_size, workers=self.config.loaders))

    def losses(self, network: nn.Module, batch: Batch, _stage: Stage) -> Mapping[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(network(batch.image), batch.label)}

    def validator(self) -> loop.Score:
        return Validator(self.validation, self.config.network.image_px)


@dataclass(frozen=True, slots=True)
class Validator:
    """Top-1 accuracy over whole frames."""

    examples: Sequence[Example]
    px: int

    def __call__(self, network: nn.Module, device: torch.device) -> float:
        logits = network_logits(network, self.examples, self.px, device)
        labels = torch.tensor([example.label for example in self.examples])
        return float((logits.argmax(1) == labels).float().mean())


def network_logits(network: nn.Module, examples: Sequence[Example], px: int, device: torch.device) -> Tensor:
    """Logits (examples, 9), on the CPU."""
    views, parts = Views(px, 1), []
    for start in range(0, len(examples), VALIDATION_BATCH_SIZE):
        chosen = examples[start : start + VALIDATION_BATCH_SIZE]
        pixels = torch.from_numpy(np.concatenate([views(read_rgb(each.path), seed=0) for each in chosen]))
        with torch.inference_mode():
            parts.append(network(pixels.permute(0, 3, 1, 2).float().to(device) / 255).cpu())
    return torch.cat(parts)


def part(examples: Sequence[Example], *, everything: bool) -> tuple[list[Example], list[Example]]:
    """Training and validation examples without the held-out ones; validation is one fold of the sources."""
    developed = list(examples) if everything else hold_out(examples)[0]
    fold = source_folds(developed, FOLDS)
    pairs = list(zip(developed, fold, strict=True))
    return [each for each, at in pairs if at != 0], [each for each, at in pairs if at == 0]


def fine_tune(config: TrainConfig) -> ScreeningModel:
    """Runs both phases, or resumes them. Returns the best network by validation, calibrated on the same pictures."""
    loop.train(lambda: ScreeningTask(config))
    network = HraCnn(config.network)
    network.load_state_dict(load_checkpoint(Path(config.out_folder) / "best.pt")["average"])
    chosen, validation = part(read_examples(Path(config.train_store)), everything=config.everything)
    logits = network_logits(network.eval(), validation, config.network.image_px, torch.device("cpu")).numpy()
    labels = np.array([example.label for example in validation])
    return ScreeningModel(network, fit_temperature(logits, labels), support(chosen))
