import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sightline.networks.boxes import iou
from sightline.networks.faster_rcnn import DenseProposals
from sightline.training.hoi.annotations import CLASS_INDEX, SLOT_INDEX
from sightline.training.hoi.batches import Batch
from sightline.training.hoi.losses import box_loss, known_cross_entropy, soft_cross_entropy, target_loss
from sightline.training.hoi.sampling import Sample, Sampler, batch_truth, sample_anchors, sample_rois, select_randomly

RIDE, HOLD, LOOK, STAND = (
    SLOT_INDEX[each] for each in (("ride", "instr"), ("hold", "obj"), ("look", "obj"), ("stand", None))
)
PERSON, HORSE, CUP = [8.0, 8, 40, 60], [4.0, 56, 60, 92], [70.0, 10, 80, 20]


@pytest.fixture
def batch() -> Batch:
    """A rider who holds something unannotated, with a cup and a region to leave alone; and an empty picture."""
    rows = torch.tensor([[PERSON, [62.0, 62, 94, 94], HORSE, CUP, [0.0] * 4]])
    labels = torch.tensor([[0, 0, CLASS_INDEX["horse"], CLASS_INDEX["cup"], -1]])
    actions, targets = torch.full((1, 5, 29), -1), torch.full((1, 5, 29), -1)
    actions[0, 0] = 0
    actions[0, 0, [RIDE, HOLD]] = 1
    targets[0, 0, RIDE] = 2
    untaught = torch.zeros(1, 0, 0), torch.zeros(1, 0)
    sure = torch.tensor([[1.0, 0, 1, 0.6, -1]])
    full = Batch(torch.zeros(1, 4, 12, 12), rows, labels, sure, actions, targets, *untaught)
    empty = [rows * 0, labels * 0 - 1, full.confidence * 0 - 1, actions * 0 - 1, targets * 0 - 1, *untaught]
    return Batch(
        torch.zeros(2, 4, 12, 12), *(torch.cat([one, two]) for one, two in zip(_rows(full), empty, strict=True))
    )


def _rows(batch: Batch) -> list[torch.Tensor]:
    return [
        batch.boxes,
        batch.labels,
        batch.confidence,
        batch.actions,
        batch.targets,
        batch.teacher_features,
        batch.teacher_scores,
    ]


@pytest.fixture
def sample(batch: Batch) -> Sample:
    torch.manual_seed(0)
    x, y = torch.meshgrid(torch.arange(4, 92, 8.0), torch.arange(4, 92, 8.0), indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], 1)
    anchors = torch.cat([centres - 12, centres + 12], 1)
    dense = DenseProposals(torch.rand(2, len(anchors)), torch.zeros(2, len(anchors), 4), anchors)
    return Sampler(batch)(dense)


def test_targets_on_ignored_regions_are_removed(batch: Batch) -> None:
    batch.targets[0, 0, LOOK] = 1

    truths = batch_truth(batch)

    assert truths.known.tolist() == [[True, False, True, True], [False] * 4]
    assert truths.ignored.tolist() == [[False, True, False, False], [False] * 4]
    assert truths.targets[0, 0, RIDE] == 2
    assert truths.targets[0, 0, LOOK] == -1


def test_sampled_anchors_cover_every_box_and_no_ignored_region(batch: Batch) -> None:
    anchors = torch.tensor([[0.0, 0, 4, 4], [66, 66, 90, 90], [66, 6, 84, 24], [4, 50, 60, 90], [8, 8, 40, 40]])

    found = sample_anchors(anchors, batch_truth(batch))

    sure = dict(zip(found["anchors"].tolist(), found["objectness"].tolist(), strict=True))
    of_first = {at: each for at, each in sure.items() if at < 5}
    assert of_first == pytest.approx({0: 0, 2: 0.6, 3: 1, 4: 1})
    assert {at for at in sure if at >= 5} == set(range(5, 10))
    assert all(sure[at] == 0 for at in range(5, 10))


def test_sampled_rois_match_the_boxes_that_they_overlap(batch: Batch) -> None:
    proposals = torch.tensor([PERSON, [60.0, 0, 64, 4], [64.0, 64, 92, 92], PERSON]).expand(2, -1, -1)
    real = torch.tensor([True, True, True, False]).expand(2, -1)

    found = sample_rois(proposals, real, batch_truth(batch))

    assert found["labels"][found["rois_image"] == 0].tolist() == [0, -1]
    assert found["roi_truth"][0].tolist() == PERSON
    assert found["labels"][found["rois_image"] == 1].tolist() == [-1, -1, -1]


def test_random_selection_prefers_first() -> None:
    torch.manual_seed(0)
    chosen = torch.tensor([[True] * 6, [False] * 6])
    first = torch.tensor([[False, True, False, False, True, False]] * 2)

    picks = select_randomly(chosen, 4, first=first)

    assert set(picks.indices[0, :2].tolist()) == {1, 4}
    assert picks.valid.tolist() == [[True] * 4, [False] * 4]
    seen = {tuple(select_randomly(chosen, 2).indices[0].tolist()) for _ in range(60)}
    assert len(seen) > 10


def test_sample_labels_people_and_pairs(sample: Sample) -> None:
    assert len(sample.people) > 0
    assert iou(sample.people, torch.tensor([PERSON])).min() >= 0.5
    assert sample.has_target.sum(0).nonzero().flatten().tolist() == [RIDE]
    assert torch.equal(sample.target_boxes[0, RIDE], torch.tensor(HORSE))
    objects = [sample.objects[at].tolist() for at in sample.pairs[1]]
    for thing, labels in zip(objects, sample.pair_labels, strict=True):
        assert labels[RIDE] == (1 if thing == HORSE else -1)  # nobody rides a cup
        assert (labels[HOLD], labels[LOOK], labels[STAND]) == (-1, 0, -1)
    assert {HORSE[0], CUP[0]} == {thing[0] for thing in objects}


def test_sample_of_an_empty_picture_is_background(sample: Sample) -> None:
    assert set(sample.labels[sample.rois_image == 1].tolist()) == {-1}
    assert not (sample.people_image == 1).any()


def test_soft_cross_entropy_splits_between_class_and_background() -> None:
    logits = torch.zeros(1, 3)

    half = soft_cross_entropy(logits, torch.tensor([1]), torch.tensor([0.5]))
    sure = soft_cross_entropy(torch.tensor([[0.0, 9, 0]]), torch.tensor([1]), torch.tensor([1.0]))

    assert float(half) == pytest.approx(math.log(3))
    assert float(sure) < 0.01


def test_cross_entropy_leaves_out_unknown_labels() -> None:
    logits = torch.tensor([[2.0, -50.0]])

    loss = known_cross_entropy(logits, torch.tensor([[1, -1]]))

    assert float(loss) == pytest.approx(float(F.softplus(torch.tensor(-2.0))))
    assert float(known_cross_entropy(logits, torch.tensor([[-1, -1]]))) == 0


def test_box_loss_is_weighted_by_confidence() -> None:
    found, wanted = torch.ones(2, 4), torch.zeros(2, 4)

    assert float(box_loss(found, wanted, torch.tensor([1.0, 0.5]))) == pytest.approx(1.5 * 4 * (1 - 1 / 18) / 2)


def test_target_loss_is_zero_without_targets(sample: Sample) -> None:
    none = replace(sample, has_target=torch.zeros_like(sample.has_target))
    given = torch.zeros(*sample.has_target.shape, 4)

    assert float(target_loss(given, sample.people, sample.target_boxes, sample.has_target)) > 0
    assert float(target_loss(given, none.people, none.target_boxes, none.has_target)) == 0
