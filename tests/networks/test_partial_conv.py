import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.partial_conv import (
    Masked,
    PartialConv2d,
    PartialConvConfig,
    PartialConvUNet,
    composite,
)

PAPER = PartialConvConfig(levels=8, base_width=64)
SMALL = PartialConvConfig(levels=3, base_width=4)


def random_mask(*shape: int, share: float = 0.5) -> Tensor:
    return (torch.rand(shape) < share).float()


def reference(features: Tensor, valid: Tensor, conv: PartialConv2d) -> tuple[Tensor, Tensor]:
    """Section 3.1 word for word, window by window, with a mask channel per feature channel."""
    kernel, stride, pad = conv.conv.kernel_size[0], conv.conv.stride[0], conv.conv.padding[0]
    x, m = (F.pad(tensor, [int(pad)] * 4) for tensor in (features * valid, valid))
    high = (x.shape[2] - kernel) // stride + 1
    wide = (x.shape[3] - kernel) // stride + 1
    out = torch.zeros(x.shape[0], conv.conv.out_channels, high, wide)
    mask = torch.zeros(x.shape[0], 1, high, wide)
    for b in range(x.shape[0]):
        for i in range(high):
            for j in range(wide):
                rows, columns = slice(i * stride, i * stride + kernel), slice(j * stride, j * stride + kernel)
                count = m[b, :, rows, columns].sum()
                if count > 0:
                    scale = x.shape[1] * kernel * kernel / count
                    out[b, :, i, j] = (conv.conv.weight * x[b, :, rows, columns]).sum((1, 2, 3)) * scale
                    if conv.bias is not None:
                        out[b, :, i, j] += conv.bias.flatten()
                    mask[b, 0, i, j] = 1
    return out, mask


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_partial_convolution_equals_the_papers_equation(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = PartialConv2d((2,), 3, kernel, stride=stride, bias=True)
    assert conv.bias is not None
    torch.nn.init.normal_(conv.bias)
    features, valid = torch.randn(2, 2, 12, 10), random_mask(2, 1, 12, 10, share=0.05)

    result = conv(Masked(features, valid))

    expected, mask = reference(features, valid.expand(-1, 2, -1, -1), conv)
    torch.testing.assert_close(result.features, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(result.valid, mask)
    assert 0 < mask.mean() < 1


def test_masks_of_several_sources_are_weighted_by_channels() -> None:
    torch.manual_seed(0)
    conv = PartialConv2d((5, 2), 3, 3, stride=1, bias=False)
    below, skip = (Masked(torch.randn(1, count, 8, 8), random_mask(1, 1, 8, 8, share=0.3)) for count in (5, 2))

    result = conv(below, skip)

    features = torch.cat([below.features, skip.features], 1)
    valid = torch.cat([below.valid.expand(-1, 5, -1, -1), skip.valid.expand(-1, 2, -1, -1)], 1)
    expected, mask = reference(features, valid, conv)
    torch.testing.assert_close(result.features, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(result.valid, mask)


def test_partial_convolution_without_holes_equals_a_convolution_inside_the_border() -> None:
    conv = PartialConv2d((3,), 4, 3, stride=1, bias=False)
    features = torch.randn(1, 3, 9, 9)

    result = conv(Masked(features, torch.ones(1, 1, 9, 9)))

    torch.testing.assert_close(result.features[..., 1:-1, 1:-1], conv.conv(features)[..., 1:-1, 1:-1])


def test_paper_size_has_the_published_number_of_convolution_weights() -> None:
    network = PartialConvUNet(PAPER)

    weights = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Conv2d))

    assert round(weights / 1e6, 2) == 32.85
    assert PAPER.stride == 256


def test_pixels_in_holes_do_not_affect_the_output() -> None:
    torch.manual_seed(0)
    network = PartialConvUNet(SMALL).eval()
    image, valid = torch.rand(1, 3, 16, 24), random_mask(1, 1, 16, 24)
    other = composite(image, torch.rand_like(image), valid)

    assert torch.equal(network(image, valid), network(other, valid))
    assert network(image, valid).shape == image.shape


def test_composite_keeps_known_pixels() -> None:
    image, predicted, valid = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), random_mask(1, 1, 4, 4)

    result = composite(image, predicted, valid)

    assert torch.equal(result * valid, image * valid)
    assert torch.equal(result * (1 - valid), predicted * (1 - valid))


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_encoder_norms_keep_their_statistics(frozen: bool) -> None:
    network = PartialConvUNet(SMALL)
    network.freeze_encoder_norm = frozen
    network.train()
    norms = {name: part for name, part in network.named_buffers() if name.endswith("running_mean")}
    before = {name: part.clone() for name, part in norms.items()}

    network(torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16))

    moved = {name for name, part in norms.items() if not torch.equal(part, before[name])}
    assert moved == {name for name in norms if name.startswith("decoder") or not frozen}


def test_config_rejects_a_network_without_levels() -> None:
    with pytest.raises(ValueError, match="levels"):
        PartialConvConfig(levels=1)
