import pytest
import torch
from torch import Tensor

from sightline.networks.hra_cnn import (
    BaselineCnn,
    Fusion,
    HraCnn,
    HraConfig,
    Pooling,
    freeze_trunks,
    set_training,
    trainable_parameters,
    unfreeze_last_layers,
)

# Keras' ResNet-50 has biases in its convolutions, torchvision's has none; the last bottleneck has these.
KERAS_BIASES = 512 + 512 + 2048


def lite(**options: object) -> HraCnn:
    torch.manual_seed(0)
    config = {"backbones": ("efficientnet-lite0",), "image_px": 64, **options}
    return HraCnn(HraConfig(**config)).eval()  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("backbone", "pooling", "published"),
    [
        ("vgg16", Pooling.AVERAGE, 4_853_257),
        ("vgg16", Pooling.MAXIMUM, 4_853_257),
        ("vgg16", Pooling.FLATTEN, 8_784_905),
        ("vgg19", Pooling.AVERAGE, 4_853_257),
        ("vgg19", Pooling.FLATTEN, 8_784_905),
        ("resnet50", Pooling.AVERAGE, 4_992_521 - KERAS_BIASES),
    ],
)
def test_fine_tuning_trains_the_published_number_of_parameters(backbone: str, pooling: Pooling, published: int) -> None:
    with torch.device("meta"):
        network = HraCnn(HraConfig((backbone,), pooling=pooling))
    unfreeze_last_layers(network)
    assert trainable_parameters(network) == published


def test_baseline_has_the_published_number_of_parameters() -> None:
    assert trainable_parameters(BaselineCnn()) == 3_240_553
    assert BaselineCnn().eval()(torch.rand(1, 3, 224, 224)).shape == (1, 9)


def test_feature_extraction_trains_the_head_alone() -> None:
    network = HraCnn(HraConfig(("efficientnet-lite0",)))
    freeze_trunks(network)
    assert trainable_parameters(network) == 1280 * 256 + 256 + 256 * 9 + 9


def test_fine_tuning_changes_the_last_layers_and_no_others(image: Tensor) -> None:
    network = lite()
    unfreeze_last_layers(network)
    set_training(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    network(image).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("trunks.0._conv_head") for name in changed)
    last_block = max(int(name.split(".")[3]) for name in before if name.startswith("trunks.0._blocks"))
    allowed = ("heads.", "trunks.0._conv_head", "trunks.0._bn1", f"trunks.0._blocks.{last_block}.")
    assert all(name.startswith(allowed) for name in changed)


@pytest.mark.parametrize("backbone", ["vgg16", "vgg19", "resnet50"])
def test_parameter_names_equal_torchvision(backbone: str) -> None:
    with torch.device("meta"):
        names = set(HraCnn(HraConfig((backbone,))).trunks[0].state_dict())
    known = {"vgg16": "features.28.bias", "vgg19": "features.34.weight", "resnet50": "layer4.2.bn3.running_var"}
    assert known[backbone] in names
    assert not names & {"mean", "std"}
    if backbone == "resnet50":
        assert {"conv1.weight", "layer1.0.downsample.0.weight", "layer2.0.downsample.1.weight"} <= names


@pytest.mark.parametrize("fusion", list(Fusion))
def test_two_streams_give_nine_logits(image: Tensor, fusion: Fusion) -> None:
    network = lite(backbones=("efficientnet-lite0", "efficientnet-lite0"), fusion=fusion)
    assert network(image).shape == (2, 9)
    assert network.activation(network.features(image)).shape == (2, 9, 2, 2)
    torch.testing.assert_close(network(image).softmax(1).sum(1), torch.ones(2))


def test_equal_streams_fused_by_average_or_maximum_equal_one_stream(image: Tensor) -> None:
    single = lite(hidden=None)
    for fusion in (Fusion.AVERAGE, Fusion.MAXIMUM):
        double = lite(backbones=("efficientnet-lite0",) * 2, fusion=fusion, hidden=None)
        for trunk in double.trunks:
            trunk.load_state_dict(single.trunks[0].state_dict())
        double.heads.load_state_dict(single.heads.state_dict())
        torch.testing.assert_close(double(image), single(image))


def test_late_fusion_is_the_mean_of_both_networks_probabilities(image: Tensor) -> None:
    both = lite(backbones=("efficientnet-lite0",) * 2, fusion=Fusion.LATE)
    each = [head(trunk(image)).softmax(1) for head, trunk in zip(both.heads, both.trunks, strict=True)]
    torch.testing.assert_close(both(image).softmax(1), (each[0] + each[1]) / 2)


def test_resnet_has_512_channels_beside_vgg() -> None:
    with torch.device("meta"):
        network = HraCnn(HraConfig(("resnet50", "vgg16"), fusion=Fusion.MAXIMUM))
        assert network(torch.empty(1, 3, 224, 224)).shape == (1, 9)


def test_average_fusion_rejects_streams_of_unequal_widths() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="equally many channels"):
        HraCnn(HraConfig(("vgg16", "efficientnet-lite0"), fusion=Fusion.AVERAGE))


def test_mean_of_a_linear_activation_map_is_the_logits(image: Tensor) -> None:
    network = lite(hidden=None)
    features = network.features(image)
    torch.testing.assert_close(network.activation(features).mean((2, 3)), network.classify(features))


def test_flattened_map_has_no_activation_map(image: Tensor) -> None:
    network = lite(pooling=Pooling.FLATTEN)
    assert network(image).shape == (2, 9)
    with pytest.raises(ValueError, match="no class activation map"):
        network.activation(network.features(image))


def test_embedding_has_unit_length(image: Tensor) -> None:
    network = lite()
    embedding = network.embedding(network.features(image))
    assert embedding.shape == (2, 1280)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("options", [{"backbones": ()}, {"backbones": ("vgg16",) * 3}, {"image_px": 100}])
def test_invalid_config_is_rejected(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"backbones|multiple"):
        HraConfig(**options)  # type: ignore[arg-type]


def test_unknown_backbone_is_rejected() -> None:
    with pytest.raises(ValueError, match="no backbone is named 'vgg11'"):
        HraCnn(HraConfig(("vgg11",)))
