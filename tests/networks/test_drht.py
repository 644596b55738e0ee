import pytest
import torch

from sightline.networks.drht import (
    PAPER_KERNELS,
    PAPER_WIDTHS,
    RELEASE_KERNELS,
    Drht,
    DrhtConfig,
    compress,
    expand,
)

SMALL = DrhtConfig(kernels=(1, 3, 3), decoder_kernels=(4, 4), widths=(8, 8, 16))


def test_released_half_has_the_published_number_of_parameters() -> None:
    network = Drht(DrhtConfig(RELEASE_KERNELS, (3, 3, 3, 5, 7), PAPER_WIDTHS))

    half = sum(parameter.numel() for parameter in network.to_photo.parameters())

    assert half == pytest.approx(4.95e6, rel=0.005)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        DrhtConfig((9, 5, 3), (5, 9), (8, 8, 16)),
        DrhtConfig(RELEASE_KERNELS, (3, 3, 3, 5, 7), (4, 4, 8, 8, 8, 16)),
    ],
    ids=["even decoder", "odd decoder", "release"],
)
def test_outputs_have_the_size_of_the_photo(config: DrhtConfig) -> None:
    height, width = 3 * config.stride, 2 * config.stride

    with torch.inference_mode():
        result = Drht(config).eval()(torch.rand(2, 3, height, width))

    assert result.compressed.shape == result.photo.shape == (2, 3, height, width)
    assert result.compressed.min() >= 0
    assert result.photo.isfinite().all()


def test_config_rejects_missing_kernels() -> None:
    assert DrhtConfig(PAPER_KERNELS, (3, 3, 3, 5, 9)).stride == 32
    with pytest.raises(ValueError, match="kernel"):
        DrhtConfig(kernels=(3, 3), decoder_kernels=(4,), widths=(8, 8, 8))


def test_expand_inverts_compress_over_sixteen_stops() -> None:
    scene = torch.logspace(-2, 3.3, 50, base=10)

    torch.testing.assert_close(expand(compress(scene)), scene, rtol=1e-4, atol=0)
    assert compress(torch.tensor(-1.0)) == 0


def test_bridge_is_finite_in_half_precision() -> None:
    network = Drht(SMALL).eval()

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        result = network(torch.ones(1, 3, 8, 8))

    assert result.photo.dtype == torch.float32
    assert result.photo.isfinite().all()


def test_frozen_norms_keep_their_statistics() -> None:
    network = Drht(SMALL)
    network.freeze_norm = True
    network.train()
    before = network.to_photo.norm.running_mean.clone()  # type: ignore[union-attr]

    network(torch.rand(2, 3, 8, 8))

    assert torch.equal(network.to_photo.norm.running_mean, before)  # type: ignore[arg-type]


def test_single_half_corrects_without_a_scene() -> None:
    network = Drht(DrhtConfig(kernels=(1, 3, 3), decoder_kernels=(4, 4), widths=(8, 8, 16), reciprocal=False)).eval()

    with torch.inference_mode():
        result = network(torch.rand(1, 3, 8, 8))

    assert result.compressed.abs().max() == 0
    assert result.photo.shape == (1, 3, 8, 8)
    assert 2 * _size(network) == _size(Drht(SMALL))


def _size(network: Drht) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
