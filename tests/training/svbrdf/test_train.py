from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sightline.inference.contract import read_contract
from sightline.networks.svbrdf_net import SvbrdfConfig, SvbrdfNet
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.export import load_exported
from sightline.training.svbrdf.config import SHIPPED, Stage, TrainConfig, Variant, config_from
from sightline.training.svbrdf.estimators import NetworkEstimator, OnnxEstimator
from sightline.training.svbrdf.export import export, load_network, sample_feeds
from sightline.training.svbrdf.jobs import evaluate, recipe, training_materials
from sightline.training.svbrdf.materials import MaterialStore
from sightline.training.svbrdf.train import train
from tests.training.untrained import set_apart

SMALL = SvbrdfConfig(encoder=(8, 16, 16), decoder=(16, 16, 8), out_kernel=3)
SHORT = Stage(minutes=2 / 60, crop_px=32, batch_size=4, learning_rate=3e-3)


@pytest.fixture
def config(store: MaterialStore, material_folder: Path, tmp_path: Path) -> TrainConfig:
    assert len(store)
    folders = (str(tmp_path / "store"), str(material_folder), str(tmp_path / "run"))
    return TrainConfig(*folders, network=SMALL, stages=(SHORT,), precision="fp32", validation_px=32)


def test_training_learns_saves_and_resumes(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config)
    second = train(replace(config, stages=(SHORT, replace(SHORT, freeze_norm=True))))

    assert (first.stage, second.stage) == (1, 2)
    assert second.step > first.step
    assert 0 > second.best_score >= first.best_score > -1
    assert config_from(load_checkpoint(tmp_path / "run" / "best.pt")["config"]).network == SMALL


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    weights = set_apart(SvbrdfNet(SMALL).state_dict())
    save_checkpoint(path, {"config": asdict(TrainConfig("s", "v", "o", network=SMALL)), "average": weights})
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("weights"), version="1.2.3")


@pytest.mark.parametrize("size", [(24, 40), (40, 16)])
def test_onnx_agrees_with_torch_at_other_sizes(checkpoint: Path, exported: Path, size: tuple[int, int]) -> None:
    feeds = sample_feeds(1, *size)
    photo, coordinates = feeds["photo"][0], feeds["coordinates"][0].transpose(2, 0, 1)

    given = OnnxEstimator(exported)(photo, coordinates)

    expected = NetworkEstimator(load_network(checkpoint), torch.device("cpu"))(photo, coordinates)
    assert given.maps.shape == (*size, 7)
    np.testing.assert_allclose(given.maps, expected.maps, atol=2e-2)
    assert given.metallic == pytest.approx(expected.metallic, abs=1e-2)


def test_large_weights_are_stored_in_half_precision(exported: Path) -> None:
    large = [weights for weights in onnx.load(exported).graph.initializer if np.prod(weights.dims) >= 1024]

    assert {weights.data_type for weights in large} == {onnx.TensorProto.FLOAT16}


def test_contract_is_written_beside_the_weights(exported: Path) -> None:
    contract = read_contract(exported.with_suffix(".toml"))

    assert (contract.version, contract.multiple_of) == ("1.2.3", SMALL.stride)


def test_training_can_go_on_from_an_exported_file(checkpoint: Path, exported: Path) -> None:
    network = SvbrdfNet(SMALL)

    load_exported(network, exported)

    for name, values in load_network(checkpoint).state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("unseen", [0, 8])
def test_evaluation_prints_every_method_by_type(
    exported: Path, material_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], unseen: int
) -> None:
    sheet = tmp_path / "sheet.png"

    evaluate(material_folder, exported, size_px=32, split="val", per_material=1, generated=unseen, pictures=sheet)

    printed = capsys.readouterr().out
    for method in ("service", "network", "median colour", "photo"):
        assert f"| all ({unseen or 2}) | {method} |" in printed
    assert "| stone_diffuse (1) | service |" in printed
    assert "Types right: " in printed
    assert sheet.is_file()


def test_training_sees_collected_and_generated_materials(material_folder: Path) -> None:
    names = [material.name for material in training_materials(material_folder, 3)]

    assert names[:2] == ["m0", "m1"]
    assert len(names) == 5


def test_shipped_weights_fit_their_budget() -> None:
    parameters = sum(parameter.numel() for parameter in SvbrdfNet(SHIPPED).parameters())

    assert 2 * parameters < 10e6
    assert SHIPPED.stride == 128


@pytest.mark.parametrize(
    ("variant", "types", "coordinates", "renders"),
    [
        (Variant.FULL, 8, True, True),
        (Variant.NO_RENDERING_LOSS, 8, True, False),
        (Variant.NO_CLASSIFIER, 1, True, True),
        (Variant.PLAIN, 1, False, False),
    ],
)
def test_variant_leaves_out_its_parts(variant: Variant, types: int, coordinates: bool, renders: bool) -> None:
    assert (variant.network.types, variant.network.coordinates) == (types, coordinates)
    stages = recipe(1.0, variant) + recipe(1.0, variant, on_gpu=True)
    assert {stage.losses.rendering > 0 for stage in stages} == {renders}
