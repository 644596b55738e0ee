import pytest
import torch
from torch import Tensor

from sightline.networks.layout import PLACES, RELATIONS, Layout, LayoutConfig, LayoutNetwork, encode_layout

SIZE = torch.tensor([200.0, 100.0])
BOXES = torch.tensor([[10.0, 20, 30, 60], [11, 20, 31, 62], [20, 30, 40, 50], [100, 10, 180, 90]])
LABELS, SCORES = torch.tensor([0, 0, 5, 7]), torch.tensor([0.9, 0.3, 0.8, 0.5])


def layout(boxes: Tensor = BOXES, size: Tensor = SIZE) -> Layout:
    return encode_layout(boxes[:1], boxes, LABELS, SCORES, size)


@pytest.fixture(scope="module")
def network() -> LayoutNetwork:
    torch.manual_seed(0)
    return LayoutNetwork(LayoutConfig(slots=3)).eval()


def test_layout_has_relations_of_each_person_with_each_box() -> None:
    encoded = layout()
    assert encoded.relations.shape == (1, 4, RELATIONS)
    assert encoded.places.shape == (1, PLACES)


def test_overlapping_box_of_a_person_is_the_same_person() -> None:
    assert layout().is_same.tolist() == [[True, True, False, False]]


def test_relations_are_in_sizes_of_the_person() -> None:
    offset, _, shared = layout().relations[0, 2].split([2, 6, 7])
    assert offset.tolist() == [0.5, 0.0]
    assert shared[0] == pytest.approx(10 * 20 / (20 * 40))


def test_layout_does_not_depend_on_the_scale_of_the_picture() -> None:
    one, three = layout(), layout(3 * BOXES, 3 * SIZE)
    assert torch.allclose(one.relations, three.relations, atol=1e-5)
    assert torch.allclose(one.places, three.places, atol=1e-5)


def test_boxes_of_the_same_person_and_without_score_leave_the_actions_alone(network: LayoutNetwork) -> None:
    every = layout()
    fewer = encode_layout(BOXES[:1], BOXES[[0, 2]], LABELS[[0, 2]], SCORES[[0, 2]], SIZE)
    scores = torch.tensor([0.9, 0.3, 0.8, 0.0])
    silent = encode_layout(BOXES[:1], BOXES, LABELS, scores, SIZE)
    with torch.inference_mode():
        assert torch.allclose(network(silent)[0], network(fewer)[0], atol=1e-6)
        assert not torch.allclose(network(every)[0], network(fewer)[0], atol=1e-3)


def test_batch_of_layouts_equals_single_layouts(network: LayoutNetwork) -> None:
    single = [layout(), layout(BOXES * torch.tensor([1.5, 1, 1.5, 1]))]
    columns = ("relations", "places", "labels", "scores", "is_same")
    batch = Layout(*(torch.stack([getattr(each, name) for each in single]) for name in columns))
    with torch.inference_mode():
        actions, pairs = network(batch)
        for at, each in enumerate(single):
            assert torch.allclose(actions[at], network(each)[0], atol=1e-6)
            assert torch.allclose(pairs[at], network(each)[1], atol=1e-6)
