"""The jobs behind `sightline train|evaluate|export svbrdf`."""

import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from sightline.materials.base_colour import BaseColourModel
from sightline.materials.refinement import SHIPPED
from sightline.training.served_model import open_served_model
from sightline.training.svbrdf.base_colour import FILE_NAME, ColourData, fit, write_model
from sightline.training.svbrdf.colour_samples import draw_samples
from sightline.training.svbrdf.config import Stage, TrainConfig, Variant
from sightline.training.svbrdf.estimators import OnnxEstimator, ServiceEstimator, median_colour, photo_colour
from sightline.training.svbrdf.evaluate import Estimator, compare, make_cases, photographed_cases, type_accuracy
from sightline.training.svbrdf.export import export as export_network
from sightline.training.svbrdf.materials import (
    AUTHORED,
    PUBLISHED,
    MaterialStore,
    TrainingMaterial,
    pack_materials,
    read_materials,
)
from sightline.training.svbrdf.pictures import write_sheet
from sightline.training.svbrdf.procedural.generator import generate_many
from sightline.training.svbrdf.search import Coloured, Mirrored, Refined, search
from sightline.training.svbrdf.train import train as run_training
from sightline.training.svbrdf.validation import held_out
from sightline.training.tables import markdown_table

log = logging.getLogger(__name__)
WEIGHTS = Path("services/svbrdf/weights/svbrdf.onnx")
COLOUR_STEPS = 900
GENERATED_PX = 320
TEST_SEED = 2  # training materials are of seed 0, those of validation of 1


def recipe(hours: float, variant: Variant = Variant.FULL, *, on_gpu: bool = False) -> tuple[Stage, ...]:
    """Stages with small photos, then photos of the service's input size, with frozen batch norms.

    A GPU needs neither small photos nor small batches, whose statistics are noisy.
    """
    minutes = 60 * hours
    if on_gpu:
        return (Stage(minutes, 256, 32, 6e-4, 6e-6, losses=variant.losses),)
    return (
        Stage(0.65 * minutes, 128, 8, 1e-3, 1e-4, losses=variant.losses),
        Stage(0.35 * minutes, 256, 4, 3e-4, freeze_norm=True, losses=variant.losses),
    )


def train(
    materials: Path,
    out: Path,
    hours: float = 2.0,
    generated: int = 1600,
    seed: int = 0,
    start: Path | None = None,
    variant: Variant = Variant.FULL,
    loaders: int = 1,
    base_colour: int = 0,
) -> None:
    """Train on a folder of materials and so many generated ones; run it again to go on where it was cut off.

    `start` is an exported file to begin with. A `variant` lacks something, and is what the model is compared with. One
    of the `loaders`, processes that make photos, is enough for a CPU; a GPU takes what a dozen of them make.

    With `base_colour`, the network stays as it is, and the base colour model is trained on so many photos instead:
    base_colour.npz beside the file `start`, which is the shipped one by default.
    """
    store = out / "store"
    if not (store / "index.json").exists():
        log.info("packed %d materials", pack_materials(training_materials(materials, generated), store))
    if base_colour:
        train_base_colour(store, start or WEIGHTS, base_colour, seed)
        return
    run = TrainConfig(
        str(store),
        str(materials),
        str(out),
        network=variant.network,
        stages=recipe(hours, variant, on_gpu=torch.cuda.is_available()),
        seed=seed,
        loaders=loaders,
        start_weights=str(start) if start else None,
    )
    run_training(run)


def train_base_colour(store: Path, network: Path, photos: int, seed: int) -> None:
    """Trains the base colour model on photos of the stored materials and writes it beside the network."""
    samples = draw_samples(np.random.default_rng(seed), MaterialStore(store), OnnxEstimator(network))
    arrays = fit(ColourData.collect(samples, photos), steps=COLOUR_STEPS, seed=seed)
    log.info("wrote %s", write_model(arrays, network.parent))


def training_materials(folder: Path, generated: int) -> Iterator[TrainingMaterial]:
    return chain(read_materials(folder, "train"), generate_many(generated, GENERATED_PX))


def evaluate(
    materials: Path,
    weights: Path = WEIGHTS,
    size_px: int = 256,
    split: str = "test",
    per_material: int = 4,
    generated: int = 0,
    published: bool = False,
    photographed: bool = False,
    search_px: int = 0,
    pictures: Path | None = None,
    url: str | None = None,
) -> None:
    """Print errors of the maps and of renders under ten unseen lights beside trivial estimates, as Markdown.

    The materials are those of a split, those `published` with other papers, or this many `generated` ones outside of
    the training set. With `photographed`, the photos are those that were published with the materials, in the exposure
    of their authors. `colour_rmse` is the base colour's error in sRGB, `colour_best` that at the best brightness.

    With `search_px`, the refinement's coefficients are first searched for at this size on the validation split.
    `pictures` is the path of a PNG with a row for each photo: true and estimated maps, and renders of both under a
    light other than the photo's. The service, in this process or the running fleet at `url`, adds what it does around
    the network.
    """
    collected = read_materials(materials, split, PUBLISHED if published else AUTHORED)
    chosen = generate_many(generated, GENERATED_PX, seed=TEST_SEED) if generated else collected
    made = photographed_cases(materials) if photographed else None
    cases = made or make_cases(chosen, size_px=size_px, per_material=per_material)
    network = OnnxEstimator(weights)
    mirrored = Mirrored(network)
    model = weights.with_name(FILE_NAME)
    coloured = Coloured(mirrored, BaseColourModel.read(model.read_bytes())) if model.exists() else mirrored
    coefficients = search(coloured, make_cases(held_out(materials), size_px=search_px)) if search_px else SHIPPED
    with open_served_model("svbrdf", url, weights) as served:
        service = ServiceEstimator(served)
        estimators: dict[str, Estimator] = {
            "service": service,
            "refined": Refined(coloured, coefficients),
            "without refinement": coloured,
            "and without base colour model": mirrored,
            "network": network,
            "median colour": median_colour,
            "photo": photo_colour,
        }
        print(markdown_table(compare(estimators, cases), "material"))
        print(f"\nTypes right: {type_accuracy(service, cases):.0%}")
        if pictures:
            write_sheet(pictures, service, cases)


def export(checkpoint: Path, version: str, folder: Path = Path("services/svbrdf/weights")) -> None:
    """Write svbrdf.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))
