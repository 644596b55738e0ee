"""The jobs behind `sightline train|evaluate|export hdr_correct`."""

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sightline.training.backbones import load_features
from sightline.training.hdr_correct.baselines import BASELINES, Corrector
from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.config import Stage, TrainConfig
from sightline.training.hdr_correct.correctors import OnnxCorrector, ServiceCorrector
from sightline.training.hdr_correct.evaluate import MEASURES, compare, make_cases
from sightline.training.hdr_correct.export import export as export_network
from sightline.training.hdr_correct.radiance import list_radiance, read_radiance
from sightline.training.hdr_correct.scenes import pack_scenes, random_views
from sightline.training.hdr_correct.train import train as run_training
from sightline.training.metrics import PerceptualDistance
from sightline.training.photos import list_photos, pack_photos
from sightline.training.tables import markdown_table

log = logging.getLogger(__name__)
METRIC_BACKBONE = "efficientnet-lite2"
VIEWS_PER_PANORAMA = 24
VIEW_SIZE_PX = (256, 340)
PANORAMA_ASPECT = 2.0
SHORT_SIDE_PX = 288


def recipe(hours: float) -> tuple[Stage, ...]:
    """Small crops first, then larger ones with the batch norm frozen, as the service will run it."""
    minutes = 60 * hours
    return (
        Stage(0.65 * minutes, 128, 16, 1e-3, 1e-4),
        Stage(0.35 * minutes, 192, 8, 2e-4, freeze_norm=True),
    )


def train(
    photos: list[Path],
    validation: Path,
    out: Path,
    scenes: Path | None = None,
    hours: float = 2.0,
    seed: int = 0,
    start: Path | None = None,
) -> None:
    """Train on folders of photos and one of HDR files; run it again to go on where it was cut off.

    `start` is an exported file to begin with.
    """
    store, scene_store = out / "store", out / "scenes"
    if not (store / "index.json").exists():
        paths = [path for folder in photos for path in list_photos(folder)]
        log.info("packed %d photos", pack_photos(paths, store, short_side_px=SHORT_SIDE_PX))
    if scenes and not (scene_store / "index.json").exists():
        log.info("packed %d scenes", pack_scenes(read_scenes(scenes), scene_store))
    config = TrainConfig(
        str(store),
        str(validation),
        str(out),
        stages=recipe(hours),
        seed=seed,
        scene_store=str(scene_store) if scenes else None,
        start_weights=str(start) if start else None,
    )
    run_training(config)


def read_scenes(folder: Path) -> Iterator[Linear]:
    """Views into the panoramas, which are twice as wide as high, and the other HDR pictures whole."""
    rng = np.random.default_rng(0)
    for path in list_radiance(folder):
        scene = read_radiance(path)
        height, width = scene.shape[:2]
        if width == PANORAMA_ASPECT * height:
            yield from random_views(rng, scene, count=VIEWS_PER_PANORAMA, size_px=VIEW_SIZE_PX)
        else:
            scale = min(1.0, SHORT_SIDE_PX / min(height, width))
            size = (round(width * scale), round(height * scale))
            yield np.asarray(cv2.resize(scene, size, interpolation=cv2.INTER_AREA), np.float32)


def evaluate(
    photos: Path,
    weights: Path = Path("services/hdr_correct/weights/hdr_correct.onnx"),
    size_px: int = 256,
    limit: int = 0,
    url: str | None = None,
) -> None:
    """Print PSNR, SSIM and perceptual distance per exposure error beside the classical methods, as Markdown.

    With the `url` of a running fleet its answers are measured too: they add what the service does around the network.
    """
    cases = make_cases(photos, size_px=size_px, limit=limit or None)
    measures = MEASURES | {"perceptual": PerceptualDistance(load_features(METRIC_BACKBONE))}
    correctors: dict[str, Corrector] = {"network": OnnxCorrector(weights), **BASELINES}
    if url:
        correctors = {"service": ServiceCorrector(url), **correctors}
    print(markdown_table(compare(correctors, cases, measures), "exposure"))


def export(checkpoint: Path, version: str, folder: Path = Path("services/hdr_correct/weights")) -> None:
    """Write hdr_correct.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
