"""The jobs behind `sightline train|evaluate|export inpaint`."""

import logging
from dataclasses import replace
from pathlib import Path

from sightline.networks.backbones import load_features
from sightline.networks.partial_conv import PartialConvConfig
from sightline.training.inpaint.config import Stage, TrainConfig
from sightline.training.inpaint.evaluate import MEASURES, compare, make_cases
from sightline.training.inpaint.export import export as export_network
from sightline.training.inpaint.fillers import BASELINES, Filler, OnnxFiller, ServiceFiller
from sightline.training.inpaint.losses import LossWeights
from sightline.training.inpaint.train import train as run_training
from sightline.training.metrics import PerceptualDistance
from sightline.training.photos import list_photos, pack_photos, read_rgb
from sightline.training.served_model import open_served_model
from sightline.training.tables import markdown_table

log = logging.getLogger(__name__)
METRIC_BACKBONE = "efficientnet-lite2"
PIXEL_LOSSES = LossWeights(perceptual=0, style=0, total_variation=0)
STRUCTURAL_LOSSES = LossWeights(perceptual=0, style=0, total_variation=0, structural=0.15)
# EfficientNet-Lite0's features are far larger than VGG's: with these weights the terms' gradients in the holes are
# about half as long as that of the pixel terms.
FEATURE_LOSSES = LossWeights(perceptual=8e-4, style=0.01, total_variation=0.02, structural=0.15)


def recipe(hours: float) -> tuple[Stage, ...]:
    """Stages with small crops, then large ones, then the paper's second stage with the feature losses."""
    minutes = 60 * hours
    return (
        Stage(0.3 * minutes, 128, 32, 8e-4, 3e-4, losses=PIXEL_LOSSES),
        Stage(0.5 * minutes, 256, 8, 4e-4, 6e-5, losses=STRUCTURAL_LOSSES),
        Stage(0.2 * minutes, 256, 8, 6e-5, freeze_encoder_norm=True, losses=FEATURE_LOSSES),
    )


def train(
    photos: list[Path],
    validation: Path,
    out: Path,
    hours: float = 2.0,
    levels: int = 7,
    base_width: int = 32,
    backbone: str = "efficientnet-lite0",
    seed: int = 0,
    start: Path | None = None,
) -> None:
    """Train on folders of photos; run it again to go on where it was cut off. `start` is an exported file."""
    store = out / "store"
    if not (store / "index.json").exists():
        count = pack_photos([path for folder in photos for path in list_photos(folder)], store, short_side_px=288)
        log.info("packed %d photos", count)
    config = TrainConfig(str(store), str(validation), str(out), stages=recipe(hours), backbone=backbone, seed=seed)
    network = PartialConvConfig(levels, base_width)
    run_training(replace(config, network=network, start_weights=str(start) if start else None))


def evaluate(
    photos: Path,
    weights: Path = Path("services/inpaint/weights/inpaint.onnx"),
    size_px: int = 256,
    per_photo: int = 1,
    limit: int = 0,
    seed: int = 0,
    url: str | None = None,
) -> None:
    """Print PSNR, SSIM and perceptual distance per hole bucket beside the classical methods, as Markdown.

    The service, in this process or the running fleet at `url`, adds what it does around the network.
    """
    paths = list_photos(photos)[: limit or None]
    cases = make_cases([read_rgb(path) for path in paths], size_px=size_px, seed=seed, per_photo=per_photo)
    measures = MEASURES | {"perceptual": PerceptualDistance(load_features(METRIC_BACKBONE))}
    with open_served_model("inpaint", url, weights) as service:
        fillers: dict[str, Filler] = {"service": ServiceFiller(service), "network": OnnxFiller(weights), **BASELINES}
        print(markdown_table(compare(fillers, cases, measures), "holes"))


def export(checkpoint: Path, version: str, folder: Path = Path("services/inpaint/weights")) -> None:
    """Write inpaint.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
