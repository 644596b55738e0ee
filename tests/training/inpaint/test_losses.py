import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from sightline.training.inpaint.data import Batch
from sightline.training.inpaint.losses import LossWeights, gram, inpainting_losses, mean_ssim, total_variation

ALL = LossWeights(structural=1.0)


def raw_and_half(image: Tensor) -> list[Tensor]:
    return [image, image[..., ::2, ::2]]


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    valid = torch.ones(2, 1, 16, 16)
    valid[..., 4:8, 4:12] = 0
    return Batch(torch.rand(2, 3, 16, 16), valid)


def test_perfect_prediction_has_only_total_variation_loss(batch: Batch) -> None:
    losses = inpainting_losses(batch.image, batch, ALL, raw_and_half)

    assert losses.pop("total_variation") > 0
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(dict.fromkeys(losses, 0), abs=1e-5)


def test_pixel_terms_are_means_over_all_elements_with_the_papers_weights(batch: Batch) -> None:
    losses = inpainting_losses(batch.image + 0.5, batch, ALL, raw_and_half)

    hole_share = 32 / 256
    assert losses["hole"].item() == pytest.approx(6 * 0.5 * hole_share)
    assert losses["valid"].item() == pytest.approx(0.5 * (1 - hole_share), rel=1e-5)


def test_feature_terms_judge_the_prediction_and_the_composite(batch: Batch) -> None:
    only_known_is_wrong = batch.image + 0.5 * batch.valid

    losses = inpainting_losses(only_known_is_wrong, batch, ALL, lambda image: [image])

    # The composite takes known pixels from the photo, so that only the raw prediction differs.
    assert losses["perceptual"].item() == pytest.approx(0.05 * 0.5 * (1 - 32 / 256), rel=1e-5)


def test_features_are_asked_for_only_when_weighted(batch: Batch) -> None:
    pixels_only = LossWeights(perceptual=0, style=0)

    assert "style" not in inpainting_losses(batch.image, batch, pixels_only, None)
    with pytest.raises(ValueError, match="backbone"):
        inpainting_losses(batch.image, batch, ALL, None)


def test_gram_is_the_scaled_channel_product() -> None:
    features = torch.randn(2, 3, 4, 5)

    expected = torch.einsum("bchw,bdhw->bcd", features, features) / (3 * 4 * 5)

    torch.testing.assert_close(gram(features), expected)


def test_total_variation_looks_only_at_the_hole_and_its_rim() -> None:
    hole = torch.zeros(1, 1, 9, 9)
    hole[..., 4, 4] = 1
    far, near = torch.zeros(1, 3, 9, 9), torch.zeros(1, 3, 9, 9)
    far[..., 0, 0] = 1
    near[..., 4, 4] = 1

    assert total_variation(far, hole) == 0
    assert total_variation(near, hole) > 0


def test_ssim_is_that_of_the_metric_away_from_the_border(batch: Batch) -> None:
    other = (batch.image + 0.2 * torch.rand_like(batch.image)).clamp(0, 1)
    first, second = (tensor[0].permute(1, 2, 0).numpy() for tensor in (batch.image, other))

    _, everywhere = structural_similarity(  # type: ignore[no-untyped-call]
        first,
        second,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        full=True,
    )

    assert mean_ssim(batch.image[:1], other[:1]).item() == pytest.approx(everywhere[5:-5, 5:-5].mean(), rel=1e-4)
