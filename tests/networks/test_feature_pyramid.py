import pytest
import torch
from torch import nn

from sightline.networks.backbones import Trunk, Vgg, build_trunk
from sightline.networks.feature_pyramid import FeaturePyramid, TrunkLevels
from tests.training.untrained import set_apart

IMAGE = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def untrained(name: str) -> Trunk:
    torch.manual_seed(0)
    trunk = build_trunk(name)
    set_apart(trunk.state_dict())
    return trunk.eval()


def assert_close(given: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_trunk_levels_are_block_outputs_of_efficientnet_lite() -> None:
    trunk = untrained("efficientnet-lite0")
    with torch.inference_mode():
        level = trunk._swish(trunk._bn0(trunk._conv_stem((IMAGE - trunk.mean) / trunk.std)))  # type: ignore[operator]
        expected = []
        for block in trunk._blocks:  # type: ignore[union-attr]
            level = block(level)
            expected.append(level.clone())
        levels = TrunkLevels(trunk)

        given = levels(levels.shallow(IMAGE))

    assert levels.channels == (40, 112, 320)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in levels.modules())
    for level, at in zip(given, (4, 10, 15), strict=True):
        assert_close(level, expected[at])


def test_last_trunk_level_is_the_output_of_resnet() -> None:
    trunk = untrained("resnet50")
    with torch.inference_mode():
        expected = trunk(IMAGE).clone()
        levels = TrunkLevels(trunk)

        given = levels(levels.shallow(IMAGE))

    assert [level.shape[1:] for level in given] == [(512, 8, 12), (1024, 4, 6), (2048, 2, 3)]
    assert_close(given[-1], expected)


def test_trunk_without_levels_is_rejected() -> None:
    with pytest.raises(ValueError, match="Vgg has no levels"):
        TrunkLevels(Vgg("vgg16"))


def test_pyramid_adds_coarser_levels_to_finer_ones() -> None:
    torch.manual_seed(0)
    pyramid = FeaturePyramid((4, 5, 6), 8)
    levels = [torch.rand(1, channels, 32 // 2**at, 32 // 2**at) for at, channels in enumerate((4, 5, 6))]
    with torch.inference_mode():
        before = pyramid(levels)
        levels[2][:, :, :4] += 1
        after = pyramid(levels)

    assert [level.shape[1:] for level in before] == [(8, 32, 32), (8, 16, 16), (8, 8, 8)]
    assert not torch.equal(before[0][:, :, :16], after[0][:, :, :16])
    torch.testing.assert_close(before[0][:, :, 20:], after[0][:, :, 20:])
