import torch

from sightline.networks.roi_align import roi_align, roi_levels

STRIDES = (8, 16, 32)


def pyramid(batch: int = 1) -> list[torch.Tensor]:
    """Levels with the x (channel 0) and y (channel 1) of each cell's centre in pixels."""
    levels = []
    for stride in STRIDES:
        along = (torch.arange(320 // stride) + 0.5) * stride
        levels.append(torch.stack([along.expand(len(along), -1), along[:, None].expand(-1, len(along))])[None])
    return [level.expand(batch, -1, -1, -1) for level in levels]


def test_roi_align_samples_bins_at_their_centres() -> None:
    boxes = torch.tensor([[40.0, 48, 96, 104], [30.0, 60, 170, 200], [40.0, 60, 280, 300]])

    pooled = roi_align(pyramid(), STRIDES, boxes, torch.zeros(3, dtype=torch.long), 7)

    for box, bins in zip(boxes, pooled, strict=True):
        steps = (torch.arange(7) + 0.5) / 7
        torch.testing.assert_close(bins[0, 3], box[0] + steps * (box[2] - box[0]))
        torch.testing.assert_close(bins[1, :, 3], box[1] + steps * (box[3] - box[1]))


def test_roi_align_pools_each_box_from_its_picture() -> None:
    levels = pyramid(2)
    levels = [torch.cat([level[:1], level[1:] + 1000]) for level in levels]
    box = torch.tensor([[40.0, 48, 96, 104]]).expand(2, 4)

    pooled = roi_align(levels, STRIDES, box, torch.tensor([0, 1]), 7)

    torch.testing.assert_close(pooled[1], pooled[0] + 1000)


def test_large_boxes_are_pooled_from_coarse_levels() -> None:
    sides = torch.tensor([10.0, 95, 97, 191, 193, 900])
    boxes = torch.stack([torch.zeros(6), torch.zeros(6), sides, sides], 1)

    assert roi_levels(boxes, 3).tolist() == [0, 0, 1, 1, 2, 2]


def test_roi_align_repeats_the_edge() -> None:
    pooled = roi_align(pyramid(), STRIDES, torch.tensor([[0.0, 0, 4, 4]]), torch.zeros(1, dtype=torch.long), 7)

    torch.testing.assert_close(pooled, torch.full_like(pooled, 4.0))


def test_roi_align_of_no_boxes_is_empty() -> None:
    pooled = roi_align(pyramid(), STRIDES, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 7)

    assert pooled.shape == (0, 2, 7, 7)


def test_roi_align_of_levels_in_bfloat16() -> None:
    """As under autocast, which does not convert boxes."""
    boxes = torch.tensor([[40.0, 48, 96, 104], [40.0, 60, 280, 300]])
    halved = [level.bfloat16().requires_grad_() for level in pyramid()]

    pooled = roi_align(halved, STRIDES, boxes, torch.zeros(2, dtype=torch.long), 7)
    pooled.float().sum().backward()

    whole = roi_align(pyramid(), STRIDES, boxes, torch.zeros(2, dtype=torch.long), 7)
    torch.testing.assert_close(pooled.float(), whole, rtol=0.02, atol=1)
    assert all(level.grad is not None for level in halved)


def test_roi_align_is_equal_in_training_and_inference() -> None:
    boxes = torch.tensor([[40.0, 48, 96, 104], [0.0, 0, 4, 4], [40.0, 60, 280, 300], [30.0, 60, 170, 200]])
    image = torch.tensor([0, 1, 1, 0])
    levels = [torch.randn(2, 3, 320 // stride, 320 // stride) for stride in STRIDES]

    training = roi_align(levels, STRIDES, boxes, image, 7)
    with torch.no_grad():
        inference = roi_align(levels, STRIDES, boxes, image, 7)

    torch.testing.assert_close(inference, training, rtol=1e-4, atol=1e-4)
