import hashlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from sightline.inference.contract import read_contract
from sightline.networks.partial_conv import PartialConvConfig, PartialConvUNet
from sightline.training.checkpoints import save_checkpoint
from sightline.training.export import load_exported
from sightline.training.inpaint.config import TrainConfig
from sightline.training.inpaint.export import export, load_network, sample_feeds
from sightline.training.inpaint.fillers import OnnxFiller

SMALL = PartialConvConfig(levels=2, base_width=16)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    weights = PartialConvUNet(SMALL).state_dict()
    for name, values in weights.items():
        # Equal tensors would be merged in the file; trained ones are not equal.
        if "running" in name or name.endswith("bias"):
            values.uniform_(0.5, 1.5)
    config = asdict(TrainConfig("store", "validation", "out", network=SMALL))
    save_checkpoint(path, {"config": config, "average": weights})
    return path


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(checkpoint, tmp_path_factory.mktemp("weights"), version="1.2.3")


def test_onnx_agrees_with_torch_at_other_sizes(checkpoint: Path, exported: Path) -> None:
    feeds = sample_feeds(3, 20, 12)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])

    filled = np.asarray(session.run(["filled"], feeds)[0])

    image = torch.from_numpy(feeds["image"]).permute(0, 3, 1, 2).float() / 255
    valid = 1 - torch.from_numpy(feeds["mask"]).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        expected = load_network(checkpoint)(image, valid).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert filled.shape == (3, 20, 12, 3)
    np.testing.assert_allclose(filled, expected, atol=2e-3)


def test_large_weights_are_stored_in_half_precision(exported: Path) -> None:
    model = onnx.load(exported)

    large = [weights for weights in model.graph.initializer if np.prod(weights.dims) >= 1024]
    assert large
    assert {weights.data_type for weights in large} == {onnx.TensorProto.FLOAT16}


def test_exported_file_contains_no_local_paths(exported: Path) -> None:
    assert b".py" not in exported.read_bytes()


def test_contract_is_written_beside_the_weights(exported: Path) -> None:
    contract = read_contract(exported.with_suffix(".toml"))

    assert contract.version == "1.2.3"
    assert contract.multiple_of == SMALL.stride
    assert contract.sha256 == {"inpaint.onnx": hashlib.sha256(exported.read_bytes()).hexdigest()}


def test_exported_network_fills_a_hole(exported: Path) -> None:
    feeds = sample_feeds(1, 16, 16)

    filled = OnnxFiller(exported)(feeds["image"][0], feeds["mask"][0, ..., 0])

    assert filled.shape == (16, 16, 3)
    assert filled.dtype == np.uint8


def test_training_can_go_on_from_an_exported_file(checkpoint: Path, exported: Path) -> None:
    network = PartialConvUNet(SMALL)

    load_exported(network, exported)

    trained = load_network(checkpoint).state_dict()
    for name, values in network.state_dict().items():
        torch.testing.assert_close(values, trained[name], rtol=1e-3, atol=1e-4)


def test_weights_of_another_network_are_refused(exported: Path) -> None:
    with pytest.raises(ValueError, match="another network"):
        load_exported(PartialConvUNet(PartialConvConfig(levels=3, base_width=16)), exported)
