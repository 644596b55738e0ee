"""The jobs behind `sightline train|evaluate|export hra_screening`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer

from sightline.inference.contract import read_contract
from sightline.networks.backbones import with_weights
from sightline.networks.hra_cnn import Fusion, HraConfig, Pooling
from sightline.training.hra_screening.calibration import probabilities
from sightline.training.hra_screening.candidates import (
    Candidate,
    candidates,
    comparison,
    cross_validate,
    fit_heads,
    judge,
)
from sightline.training.hra_screening.config import SHIPPED, HeadRecipe, Stage, TrainConfig
from sightline.training.hra_screening.evaluate import ServiceScreener
from sightline.training.hra_screening.evaluate import evaluate as evaluate_screener
from sightline.training.hra_screening.examples import Example, read_examples, support, supported
from sightline.training.hra_screening.export import export as export_network
from sightline.training.hra_screening.export import with_version
from sightline.training.hra_screening.features import Pooled, pooled_features
from sightline.training.hra_screening.fitting import ScreeningModel, assemble
from sightline.training.hra_screening.non_scenes import add_gate, gate_for
from sightline.training.hra_screening.scores import markdown, score
from sightline.training.hra_screening.splits import hold_out, leaks
from sightline.training.hra_screening.train import fine_tune
from sightline.training.hra_screening.views import Views
from sightline.training.served_model import open_served_model

log = logging.getLogger(__name__)
CALIBRATION_FOLDS = 20


def train(
    data: Path,
    out: Path,
    backbones: Annotated[list[str] | None, typer.Argument()] = None,
    backbone: list[str] | None = None,
    weights: list[str] | None = None,
    image_px: int = 224,
    fusion: Fusion = Fusion.CONCATENATE,
    pooling: Pooling = Pooling.AVERAGE,
    views: int = SHIPPED.views,
    penalty: float = SHIPPED.penalty,
    class_balance: float = SHIPPED.class_balance,
    source_balance: float = SHIPPED.source_balance,
    compare: bool = False,
    everything: bool = False,
    hours: float = 0.0,
    hidden: int = 256,
    seed: int = 0,
    non_scenes: Path | None = None,
    gated: Path = Path("services/hra_screening/weights/hra_screening.onnx"),
    version: str | None = None,
) -> None:
    """Fit a linear head on frozen trunks, or with --hours train as the paper does; writes OUT/model.pt.

    With `non_scenes`, a folder with one sub-folder for each kind of picture that is not a scene, fit only a gate for
    the exported file `gated`: it raises `no_violation` for such pictures. Writes OUT/hra_screening.onnx with its
    contract, which keeps its version unless `version` is given.

    One or two backbones, as arguments or by --backbone. `weights` are torchvision's names or paths, one for each
    backbone; the EfficientNet-Lites have their own. Sources of `val` and `test` alone are held out and measured on at
    the end, unless `everything` is trained on. --compare cross-validates every backbone, pooling and fusion instead,
    and writes nothing.
    """
    if non_scenes:
        write_gated(gated, read_examples(data), non_scenes, out, version)
        return
    backbone = with_weights([*(backbones or []), *(backbone or [])], weights)
    recipe = HeadRecipe(views, penalty, class_balance, source_balance)
    if hours:
        network = HraConfig(_names(backbone), fusion, pooling, hidden or None, image_px=image_px)
        stages = paper_stages(hours, image_px)
        places = (str(data), str(data), str(out))
        config = TrainConfig(
            *places,
            network=network,
            recipe=recipe,
            backbones=tuple(backbone),
            stages=stages,
            seed=seed,
            everything=everything,
        )
        fine_tune(config).save(out / "model.pt")
        return
    examples = read_examples(data)
    pooled = [pooled_features(each, examples, Views(image_px, views), out / "features") for each in backbone]
    if compare:
        print(comparison_of(examples, dict(zip(_names(backbone), pooled, strict=True)), recipe))
        return
    candidate = Candidate(_names(backbone), pooling, fusion if len(backbone) > 1 else None)
    fit(examples, candidate, backbone, pooled, recipe, image_px, everything=everything).save(out / "model.pt")


def write_gated(weights: Path, scenes: Sequence[Example], non_scenes: Path, out: Path, version: str | None) -> None:
    """Writes an exported file with a gate for pictures that are not scenes, and its contract, into the folder."""
    contract = read_contract(weights.with_suffix(".toml"))
    assert contract.fixed_size is not None
    model = onnx.load(weights)
    add_gate(model, gate_for(model, scenes, non_scenes, contract.fixed_size[0]))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "hra_screening.onnx"
    onnx.save(model, path)
    with_version(weights, path, version or contract.version)
    log.info("wrote %s", path)


def paper_stages(hours: float, image_px: int) -> tuple[Stage, ...]:
    """Stages of the paper: a third of the time for the heads, the rest for heads and last layers."""
    minutes = 60 * hours
    return (
        Stage(minutes / 3, image_px, 16, 1e-3, 1e-4),
        Stage(2 * minutes / 3, image_px, 16, 1e-4, fine_tunes=True),
    )


def comparison_of(examples: Sequence[Example], pooled: dict[str, Pooled], recipe: HeadRecipe) -> str:
    developed, _ = hold_out(examples)
    places = _places(examples, developed)
    rows = []
    for candidate in candidates(list(pooled)):
        inputs = [each[places] for each in candidate.inputs([pooled[name] for name in candidate.backbones])]
        rows.append((candidate, cross_validate(developed, inputs, recipe).scores))
        log.info("%s: top-1 %s", *rows[-1][:1], rows[-1][1].top_1)
    return comparison(rows)


def fit(
    examples: Sequence[Example],
    candidate: Candidate,
    backbones: Sequence[str],
    pooled: Sequence[Pooled],
    recipe: HeadRecipe,
    image_px: int,
    *,
    everything: bool,
) -> ScreeningModel:
    """A network with fitted heads, calibrated by cross-validation on the development sources."""
    developed, held_out = (list(examples), []) if everything else hold_out(examples)
    if leaked := leaks(developed, held_out):
        log.warning(
            "%d near-duplicates are both held out and trained on, such as %s", len(leaked), leaked[0][0].path.name
        )
    inputs = candidate.inputs(pooled)
    places = _places(examples, developed)
    chosen = [each[places] for each in inputs]
    validation = cross_validate(developed, chosen, recipe, folds=CALIBRATION_FOLDS)
    print(f"Cross-validated over sources, temperature {validation.temperature:.2f}:\n\n{markdown(validation.scores)}\n")
    heads = fit_heads(developed, chosen, recipe)
    if held_out:
        logits = judge(heads, [each[_places(examples, held_out)] for each in inputs])
        labels = np.array([example.label for example in held_out])
        given, learned = probabilities(logits, validation.temperature), supported(support(developed))
        print(f"Held-out sources:\n\n{markdown(score(given, labels, learned))}")
    fusion = candidate.fusion or Fusion.CONCATENATE
    config = HraConfig(candidate.backbones, fusion, candidate.pooling, hidden=None, dropout=0.0, image_px=image_px)
    return ScreeningModel(assemble(config, backbones, heads), validation.temperature, support(developed))


def evaluate(
    data: Path,
    weights: Path = Path("services/hra_screening/weights/hra_screening.onnx"),
    everything: bool = False,
    url: str | None = None,
) -> None:
    """Print the figures on the sources that are held out, or on `everything` in the folder, as Markdown.

    They are of the service in this process, or of the running fleet at `url`; the support of the classes is that of the
    `weights`.
    """
    examples = read_examples(data)
    with open_served_model("hra_screening", url, weights) as service:
        chosen = examples if everything else hold_out(examples)[1]
        print(markdown(evaluate_screener(ServiceScreener(service), chosen, weights)))


def export(checkpoint: Path, version: str, folder: Path = Path("services/hra_screening/weights")) -> None:
    """Write hra_screening.onnx and its contract, checked against torch."""
    log.info("wrote %s", export_network(checkpoint, folder, version=version))


def _names(backbones: Sequence[str]) -> tuple[str, ...]:
    return tuple(backbone.partition(":")[0] for backbone in backbones)


def _places(examples: Sequence[Example], chosen: Sequence[Example]) -> list[int]:
    at = {example.path: place for place, example in enumerate(examples)}
    return [at[example.path] for example in chosen]
