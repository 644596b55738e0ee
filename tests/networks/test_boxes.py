import torch
from torch import Tensor

from sightline.networks import boxes


def random_boxes(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([corners, corners + 4 + torch.rand(count, 2, generator=generator) * 60], 1)


def test_iou_of_boxes_that_share_a_third() -> None:
    first, second = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10], [20, 20, 30, 30]])

    torch.testing.assert_close(boxes.iou(first, second), torch.tensor([[1 / 3, 0.0]]))


def test_decode_inverts_encode() -> None:
    truth, reference = random_boxes(20), random_boxes(20, seed=1)

    torch.testing.assert_close(boxes.decode(boxes.encode(truth, reference), reference), truth, rtol=1e-4, atol=1e-3)


def test_encode_is_relative_to_the_size_of_the_reference() -> None:
    person, ball = torch.tensor([[10.0, 20, 30, 60]]), torch.tensor([[30.0, 60, 50, 80]])

    encoded = boxes.encode(ball, person)

    torch.testing.assert_close(encoded, torch.tensor([[1.0, 0.75, 0.0, torch.tensor(0.5).log()]]))


def greedy_suppression(candidates: Tensor, scores: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for at in scores.argsort(descending=True).tolist():
        if all(boxes.iou(candidates[at : at + 1], candidates[other : other + 1]) <= threshold for other in kept):
            kept.append(at)
    return kept


def test_suppress_is_greedy_by_score() -> None:
    for seed in range(5):
        candidates, scores = random_boxes(60, seed), torch.rand(60, generator=torch.Generator().manual_seed(seed))

        assert boxes.suppress(candidates, scores, 0.3, 100).tolist() == greedy_suppression(candidates, scores, 0.3)


def test_suppress_of_no_boxes_is_empty() -> None:
    assert boxes.suppress(torch.zeros(0, 4), torch.zeros(0), 0.5, 100).tolist() == []


def test_separate_classes_prevents_suppression_across_classes() -> None:
    candidates, labels = torch.tensor([[0.0, 0, 10, 10]]).expand(3, 4), torch.tensor([4, 5, 4])

    kept = boxes.suppress(boxes.separate_classes(candidates, labels), torch.tensor([0.9, 0.8, 0.7]), 0.5, 100)

    assert kept.tolist() == [0, 1]


def test_suppression_mask_does_not_cross_pictures() -> None:
    candidates, scores = torch.stack([random_boxes(30), random_boxes(30)]), torch.rand(2, 30)

    kept = boxes.suppression_mask(candidates, scores, 0.3)

    for each, ranking, mask in zip(candidates, scores, kept, strict=True):
        assert sorted(greedy_suppression(each, ranking, 0.3)) == mask.nonzero().flatten().tolist()
