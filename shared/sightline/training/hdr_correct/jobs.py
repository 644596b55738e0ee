"""The jobs behind `sightline train|evaluate|export hdr_correct`."""

import logging
from dataclasses import replace
from pathlib import Path

from sightline.networks.backbones import load_features
from sightline.training.hdr_correct.baselines import BASELINES, Corrector
from sightline.training.hdr_correct.config import SHIPPED, Stage, TrainConfig
from sightline.training.hdr_correct.correctors import NETWORK_PX, OnnxCorrector, ServiceCorrector
from sightline.training.hdr_correct.evaluate import (
    MEASURES,
    compare,
    describe_change,
    good_squares,
    make_cases,
    paired_cases,
)
from sightline.training.hdr_correct.export import export as export_network
from sightline.training.hdr_correct.pairs import list_pairs, pack_pairs
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
) -> None:
    """Print quality per exposure error beside the classical methods, as Markdown.

    `photos` is a folder of good photos, which are exposed wrong; with `pairs` one of real pairs, as `train` takes them;
    with `scenes` one of HDR files, and the estimated scenes are measured. With the `url` of a running fleet its answers
    are measured too: they add what the service does around the network.
    """
    if scenes:
        estimators: dict[str, Estimator] = {"network": OnnxSceneEstimator(weights), **ESTIMATORS}
        if url:
            estimators = {"service": ServiceEstimator(url), **estimators}
        print(compare_scenes(estimators, photos))
        return
    cases = paired_cases(photos, size_px=size_px) if pairs else make_cases(photos, size_px=size_px, limit=limit or None)
    measures = MEASURES | {"fsim": fsim, "perceptual": PerceptualDistance(load_features(METRIC_BACKBONE))}
    correctors: dict[str, Corrector] = {"network": OnnxCorrector(weights), **BASELINES}
    if url:
        correctors = {"service": ServiceCorrector(url), **correctors}
    print(markdown_table(compare(correctors, cases, measures), "exposure"))
    if not pairs:
        first = next(iter(correctors))
        print(f"\n{first}: {describe_change(correctors[first], good_squares(photos, size_px=size_px))}")


def export(checkpoint: Path, version: str, folder: Path = Path("services/hdr_correct/weights")) -> None:
    """Write hdr_correct.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
