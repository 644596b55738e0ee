"""The jobs behind `sightline train|evaluate|export hdr_correct`."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sightline.networks.backbones import load_features
from sightline.training.hdr_correct.baselines import BASELINES, Corrector
from sightline.training.hdr_correct.config import SHIPPED, Stage, TrainConfig
from sightline.training.hdr_correct.correctors import NETWORK_PX, OnnxCorrector, ServiceCorrector
from sightline.training.hdr_correct.evaluate import (
    MEASURES,
    Case,
    compare,
    describe_change,
    good_squares,
    make_cases,
    paired_cases,
)
from sightline.training.hdr_correct.export import export as export_network
from sightline.training.hdr_correct.pairs import list_pairs, pack_pairs
from sightline.training.hdr_correct.scenario_evaluation import compare_backlit, compare_bright
from sightline.training.hdr_correct.scene_evaluation import (
    ESTIMATORS,
    Estimator,
    OnnxSceneEstimator,
    ServiceEstimator,
    compare_scenes,
)
from sightline.training.hdr_correct.scenes import pack_scenes, read_scenes
from sightline.training.hdr_correct.train import train as run_training
from sightline.training.metrics import PerceptualDistance, fsim
from sightline.training.photos import list_photos, pack_photos
from sightline.training.served_model import ServedModel, open_served_model
from sightline.training.tables import markdown_table

log = logging.getLogger(__name__)
METRIC_BACKBONE = "efficientnet-lite2"
SHORT_SIDE_PX = 288


def recipe(hours: float) -> tuple[Stage, ...]:
    """Stages at the service's input size, the last one with frozen batch norms, as in inference."""
    minutes = 60 * hours
    return (
        Stage(0.75 * minutes, NETWORK_PX, 32, 1e-3, 1e-4),
        Stage(0.25 * minutes, NETWORK_PX, 32, 1e-4, freeze_norm=True),
    )


def train(
    photos: list[Path],
    validation: Path,
    out: Path,
    scenes: Path | None = None,
    pairs: Path | None = None,
    hours: float = 2.0,
    seed: int = 0,
    start: Path | None = None,
    single: bool = False,
) -> None:
    """Train on folders of photos; run it again to go on where it was cut off.

    `scenes` is a folder of HDR files, `pairs` one of MSEC, LOL, SICE, or any with `input` and `target` in it. `start`
    is an exported file to begin with. `single` trains one network without the HDR half, for comparison.
    """
    store, scene_store, pair_store = out / "store", out / "scenes", out / "pairs"
    if not (store / "index.json").exists():
        paths = [path for folder in photos for path in list_photos(folder)]
        log.info("packed %d photos", pack_photos(paths, store, short_side_px=SHORT_SIDE_PX))
    if scenes and not (scene_store / "index.json").exists():
        log.info("packed %d scenes", pack_scenes(read_scenes(scenes), scene_store))
    if pairs and not (pair_store / "index.json").exists():
        log.info("packed %d pairs", pack_pairs(list_pairs(pairs), pair_store, short_side_px=SHORT_SIDE_PX))
    config = TrainConfig(
        str(store),
        str(validation),
        str(out),
        network=replace(SHIPPED, reciprocal=not single),
        stages=recipe(hours),
        seed=seed,
        scene_store=str(scene_store) if scenes else None,
        pair_store=str(pair_store) if pairs else None,
        start_weights=str(start) if start else None,
    )
    run_training(config)


def evaluate(
    photos: Path,
    weights: Path = Path("services/hdr_correct/weights/hdr_correct.onnx"),
    size_px: int = 256,
    limit: int = 0,
    url: str | None = None,
    pairs: bool = False,
    scenes: bool = False,
    backlit: bool = False,
    bright: bool = False,
) -> None:
    """Print quality per exposure error beside the classical methods, as Markdown.

    `photos` is a folder of good photos, which are exposed wrong. With `pairs` it is one of real pairs, as `train` takes
    them; with `scenes` one of HDR files, whose estimated scenes are measured; with `backlit` one of HDR files, whose
    backlit views are corrected; with `bright` one of snow, clouds, paper and white things, which should stay as they
    are. The service, in this process or the running fleet at `url`, adds what it does around the network.
    """
    with open_served_model("hdr_correct", url, weights) as service:
        if scenes:
            print(_scene_table(service, weights, photos))
        elif backlit:
            print(compare_backlit(_correctors(service, weights), photos))
        elif bright:
            print(compare_bright(_correctors(service, weights), photos))
        elif pairs:
            print(_photo_table(service, weights, paired_cases(photos, size_px=size_px)))
        else:
            print(_photo_table(service, weights, make_cases(photos, size_px=size_px, limit=limit or None)))
            squares = good_squares(photos, size_px=size_px)
            print(f"\nservice: {describe_change(ServiceCorrector(service), squares)}")


def _scene_table(service: ServedModel, weights: Path, folder: Path) -> str:
    estimators: dict[str, Estimator] = {"service": ServiceEstimator(service), "network": OnnxSceneEstimator(weights)}
    return compare_scenes(estimators | ESTIMATORS, folder)


def _photo_table(service: ServedModel, weights: Path, cases: Sequence[Case]) -> str:
    measures = MEASURES | {"fsim": fsim, "perceptual": PerceptualDistance(load_features(METRIC_BACKBONE))}
    return markdown_table(compare(_correctors(service, weights), cases, measures), "exposure")


def _correctors(service: ServedModel, weights: Path) -> dict[str, Corrector]:
    return {"service": ServiceCorrector(service), "network": OnnxCorrector(weights), **BASELINES}


def export(checkpoint: Path, version: str, folder: Path = Path("services/hdr_correct/weights")) -> None:
    """Write hdr_correct.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
