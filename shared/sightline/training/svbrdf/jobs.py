"""The jobs behind `sightline train|evaluate|export svbrdf`."""

import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch

from sightline.materials.refinement import SHIPPED
from sightline.training.served_model import open_served_model
from sightline.training.svbrdf.config import Stage, TrainConfig, Variant
from sightline.training.svbrdf.estimators import OnnxEstimator, ServiceEstimator, median_colour, photo_colour
from sightline.training.svbrdf.evaluate import Estimator, compare, make_cases, type_accuracy
from sightline.training.svbrdf.export import export as export_network
from sightline.training.svbrdf.materials import AUTHORED, PUBLISHED, TrainingMaterial, pack_materials, read_materials
from sightline.training.svbrdf.pictures import write_sheet
from sightline.training.svbrdf.procedural.generator import generate_many
from sightline.training.svbrdf.search import Mirrored, Refined, search
from sightline.training.svbrdf.train import train as run_training
from sightline.training.svbrdf.validation import held_out
from sightline.training.tables import markdown_table

log = logging.getLogger(__name__)
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
) -> None:
    """Train on a folder of materials and so many generated ones; run it again to go on where it was cut off.

    `start` is an exported file to begin with. A `variant` lacks something, and is what the model is compared with. One
    of the `loaders`, processes that make photos, is enough for a CPU; a GPU takes what a dozen of them make.
    """
    store = out / "store"
    if not (store / "index.json").exists():
        log.info("packed %d materials", pack_materials(training_materials(materials, generated), store))
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


def training_materials(folder: Path, generated: int) -> Iterator[TrainingMaterial]:
    return chain(read_materials(folder, "train"), generate_many(generated, GENERATED_PX))


def evaluate(
    materials: Path,
    weights: Path = Path("services/svbrdf/weights/svbrdf.onnx"),
    size_px: int = 256,
    split: str = "test",
    per_material: int = 4,
    generated: int = 0,
    published: bool = False,
    search_px: int = 0,
    pictures: Path | None = None,
    url: str | None = None,
) -> None:
    """Print errors of the maps and of renders under ten unseen lights beside trivial estimates, as Markdown.

    The materials are those of a split, those `published` with other papers, or this many `generated` ones outside of
    the training set. With `search_px`, the refinement's coefficients are first searched for at this size on the
    validation split. `pictures` is the path of a PNG with a row for each photo: true and estimated maps, and renders of
    both under a light other than the photo's. The service, in this process or the running fleet at `url`, adds what it
    does around the network.
    """
    collected = read_materials(materials, split, PUBLISHED if published else AUTHORED)
    chosen = generate_many(generated, GENERATED_PX, seed=TEST_SEED) if generated else collected
    cases = make_cases(chosen, size_px=size_px, per_material=per_material)
    network = OnnxEstimator(weights)
    mirrored = Mirrored(network)
    coefficients = search(mirrored, make_cases(held_out(materials), size_px=search_px)) if search_px else SHIPPED
    with open_served_model("svbrdf", url, weights) as model:
        service = ServiceEstimator(model)
        estimators: dict[str, Estimator] = {
            "service": service,
            "refined": Refined(mirrored, coefficients),
            "two views": mirrored,
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
