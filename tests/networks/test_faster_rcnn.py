from dataclasses import replace

import torch

from sightline.networks.boxes import iou
from sightline.networks.faster_rcnn import (
    DetectionConfig,
    DetectorConfig,
    FasterRcnn,
    detect,
    grid_anchors,
    top_proposals,
)

SMALL = DetectorConfig("efficientnet-lite0", width=16, hidden=32, classes=5)


def test_anchors_are_centred_on_their_cells() -> None:
    anchors = grid_anchors(torch.zeros(1, 1, 2, 3), 8).unflatten(0, (2, 3, 3))

    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    sides = anchors[..., 2:] - anchors[..., :2]
    torch.testing.assert_close(centres[1, 2], torch.tensor([[20.0, 12.0]]).expand(3, 2))
    torch.testing.assert_close(sides.prod(-1), torch.full((2, 3, 3), 576.0))
    torch.testing.assert_close(sides[0, 0, :, 1] / sides[0, 0, :, 0], torch.tensor([0.5, 1, 2]))


def test_top_proposals_have_the_highest_objectness_and_lie_in_the_picture() -> None:
    torch.manual_seed(0)
    network = FasterRcnn(SMALL).eval()
    with torch.inference_mode():
        dense = network.propose(network.levels(torch.rand(2, 3, 64, 96)))
        boxes, logits = top_proposals(dense, (64, 96), 40)

    assert dense.logits.shape == (2, 3 * (8 * 12 + 4 * 6 + 2 * 3 + 1 * 2))
    assert torch.equal(logits, dense.logits.sort(1, descending=True).values[:, :40])
    assert boxes.min() >= 0
    assert (boxes <= torch.tensor([96, 64, 96, 64])).all()


def test_detections_are_thresholded_suppressed_and_sorted() -> None:
    torch.manual_seed(0)
    network = FasterRcnn(SMALL).eval()
    with torch.inference_mode():
        levels = network.levels(torch.rand(1, 3, 64, 96))
        detections = detect(network, levels, (64, 96), DetectionConfig(score_threshold=0.16, max_detections=20))

    assert 0 < len(detections.scores) <= 20
    assert torch.equal(detections.scores, detections.scores.sort(descending=True).values)
    assert detections.scores.min() > 0.16
    same = (detections.labels[:, None] == detections.labels) & ~torch.eye(len(detections.labels), dtype=torch.bool)
    assert iou(detections.boxes, detections.boxes)[same].max() <= 0.5


def test_class_deltas_selects_the_deltas_of_each_class() -> None:
    network = FasterRcnn(SMALL)
    deltas = torch.arange(40.0).view(2, 20)

    assert network.class_deltas(deltas, torch.tensor([0, 3])).tolist() == [[0, 1, 2, 3], [32, 33, 34, 35]]


def test_second_pass_refines_the_boxes_of_the_first() -> None:
    torch.manual_seed(0)
    once = FasterRcnn(replace(SMALL, per_class_boxes=False)).eval()
    with torch.no_grad():
        # Every pass moves a box to the right by a tenth of its width, whatever the features.
        once.box_head.deltas.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        once.box_head.deltas.weight.zero_()
        once.box_head.logits.weight.zero_()
    twice = FasterRcnn(replace(SMALL, per_class_boxes=False, passes=2)).eval()
    twice.load_state_dict(once.state_dict())
    image, config = torch.rand(1, 3, 128, 128), DetectionConfig(score_threshold=0.0, iou_threshold=0.99)

    with torch.inference_mode():
        first, second = (detect(network, network.levels(image), (128, 128), config).boxes for network in (once, twice))

    inside = (second[:, 2] < 127) & (second[:, 0] > 20)
    width = (second[:, 2] - second[:, 0])[inside]
    expected = second[inside] - 0.1 * width[:, None] * torch.tensor([1.0, 0, 1, 0])
    assert inside.any()
    assert (iou(expected, first).amax(1) > 0.999).all()
