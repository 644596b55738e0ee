from dataclasses import replace

import torch

from sightline.networks.drht import Corrected
from sightline.training.hdr_correct.data import Batch
from sightline.training.hdr_correct.losses import LossWeights, correction_losses


def make_batch() -> Batch:
    torch.manual_seed(0)
    size = (1, 3, 16, 16)
    return Batch(torch.rand(size), torch.rand(size), 0.3 * torch.rand(size), torch.ones(size)[:, :1])


def test_losses_of_the_truth_are_zero() -> None:
    batch = make_batch()

    losses = correction_losses(Corrected(batch.compressed, batch.target), batch, LossWeights())

    assert all(abs(float(loss)) < 1e-6 for loss in losses.values())


def test_each_half_is_held_to_its_own_truth() -> None:
    batch = make_batch()
    weights = LossWeights(scene=10, photo=1, structural=0)

    wrong_scene = correction_losses(Corrected(batch.compressed + 0.1, batch.target), batch, weights)
    wrong_photo = correction_losses(Corrected(batch.compressed, batch.target + 0.1), batch, weights)

    torch.testing.assert_close(wrong_scene["scene"], torch.tensor(0.1))
    torch.testing.assert_close(wrong_photo["photo"], torch.tensor(0.1))
    assert float(wrong_scene["photo"]) == float(wrong_photo["scene"]) == 0


def test_unknown_scene_adds_no_loss() -> None:
    batch = make_batch()
    unknown = replace(batch, known=torch.zeros_like(batch.known))

    losses = correction_losses(Corrected(batch.compressed + 1, batch.target), unknown, LossWeights())

    assert float(losses["scene"]) == 0
