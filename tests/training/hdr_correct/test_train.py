from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sightline.inference.contract import read_contract
from sightline.networks.drht import Drht, DrhtConfig
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.export import load_exported
from sightline.training.hdr_correct.config import Stage, TrainConfig, config_from
from sightline.training.hdr_correct.export import export, load_network, sample_feeds
from sightline.training.hdr_correct.scenes import HdrSceneStore
from sightline.training.hdr_correct.train import train
from sightline.training.photos import PhotoStore
from tests.training.untrained import set_apart

SMALL = DrhtConfig(kernels=(1, 3, 3), decoder_kernels=(4, 4), widths=(16, 16, 32))
SHORT = Stage(minutes=2 / 60, crop_px=32, batch_size=4, learning_rate=3e-3)


@pytest.fixture
def config(photos: PhotoStore, scenes: HdrSceneStore, photo_folder: Path, tmp_path: Path) -> TrainConfig:
    assert photos
    assert scenes
    folders = (str(tmp_path / "store"), str(photo_folder), str(tmp_path / "run"))
    return TrainConfig(*folders, network=SMALL, stages=(SHORT,), precision="fp32", scene_store=str(tmp_path / "scenes"))


def test_training_learns_saves_and_resumes(config: TrainConfig, tmp_path: Path) -> None:
    first = train(config)
    second = train(replace(config, stages=(SHORT, replace(SHORT, freeze_norm=True))))

    assert first.stage == 1
    assert second.stage == 2
    assert second.step > first.step
    assert second.best_score >= first.best_score > 5
    assert config_from(load_checkpoint(tmp_path / "run" / "best.pt")["config"]).network == SMALL


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    weights = set_apart(Drht(SMALL).state_dict())
    save_checkpoint(path, {"config": asdict(TrainConfig("s", "v", "o", network=SMALL)), "average": weights})
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("weights"), version="1.2.3")


def test_onnx_agrees_with_torch_at_other_sizes(checkpoint: Path, exported: Path) -> None:
    feeds = sample_feeds(3, 20, 12)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])

    compressed, corrected = (np.asarray(part) for part in session.run(["compressed", "corrected"], dict(feeds)))

    with torch.inference_mode():
        expected = load_network(checkpoint)(torch.from_numpy(feeds["photo"]).permute(0, 3, 1, 2).float() / 255)
    assert compressed.shape == corrected.shape == (3, 20, 12, 3)
    np.testing.assert_allclose(corrected, expected.photo.clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=3e-2)
    np.testing.assert_allclose(compressed, expected.compressed.clamp(0, 1).permute(0, 2, 3, 1).numpy(), atol=3e-2)


def test_contract_is_written_beside_the_weights(exported: Path) -> None:
    contract = read_contract(exported.with_suffix(".toml"))

    assert (contract.version, contract.multiple_of) == ("1.2.3", SMALL.stride)


def test_training_can_go_on_from_an_exported_file(checkpoint: Path, exported: Path) -> None:
    network = Drht(SMALL)

    load_exported(network, exported)

    for name, values in load_network(checkpoint).state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], values, rtol=1e-3, atol=1e-3)
