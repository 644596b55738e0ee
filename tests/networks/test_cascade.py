"""The composition of scores, on two people, a horse and a bench, by hand."""

import math
from dataclasses import replace

import pytest
import torch

from sightline.networks.boxes import encode
from sightline.networks.cascade import ActionScore, Boxes, Composition, compose
from sightline.networks.interactnet import Interactions

HORSE, BENCH = 2, 3
PEOPLE = torch.tensor([[0.0, 0, 10, 20], [50.0, 0, 60, 20]])
THINGS = torch.tensor([[0.0, 20, 10, 40], [50.0, 20, 60, 40]])
SEEN = Boxes(
    torch.cat([PEOPLE, THINGS]), torch.tensor([0.9, 0.8, 0.5, 0.4]), torch.tensor([0, 0, 17, 13]), torch.tensor([0, 1])
)
ANYTHING = torch.ones(4, 2)
PAIR = Composition(ActionScore.PAIR, empty_role=0.01)


@pytest.fixture
def found() -> Interactions:
    """Slot 0 is expected just below each person, slot 1 nowhere in particular; all logits are 0."""
    below = encode(THINGS, PEOPLE)
    return Interactions(
        torch.tensor([[0.7, 0.6], [0.2, 0.1]]), torch.stack([below, below + 9], 1), torch.zeros(2, 2), torch.zeros(4, 2)
    )


def test_each_person_gets_the_object_where_it_is_expected(found: Interactions) -> None:
    triplets = compose(found, SEEN, ANYTHING, PAIR)

    assert triplets.objects[:, 0].tolist() == [HORSE, BENCH]
    torch.testing.assert_close(triplets.scores[:, 0], torch.tensor([0.9 * 0.5 * 0.5, 0.8 * 0.4 * 0.5]))


def test_a_role_that_nothing_fits_is_empty(found: Interactions) -> None:
    triplets = compose(found, SEEN, ANYTHING, PAIR)

    assert triplets.objects[:, 1].tolist() == [-1, -1]
    torch.testing.assert_close(triplets.scores[:, 1], torch.tensor([0.9 * 0.6 * 0.01, 0.8 * 0.1 * 0.01]))


def test_what_action_scores_are_made_of(found: Interactions) -> None:
    scores = {how: compose(found, SEEN, ANYTHING, replace(PAIR, action_score=how)).scores[0, 0] for how in ActionScore}

    assert scores[ActionScore.PERSON] == pytest.approx(0.9 * 0.5 * 0.7)
    assert scores[ActionScore.GEOMETRIC_MEAN] == pytest.approx(0.9 * 0.5 * math.sqrt(0.7 * 0.5))


def test_the_target_decides_between_things_that_are_equally_likely(found: Interactions) -> None:
    without = compose(found, SEEN, ANYTHING, replace(PAIR, uses_targets=False))

    assert without.objects[:, 0].tolist() == [1, 0]


def test_one_sigma_off_costs_the_root_of_e(found: Interactions) -> None:
    off = replace(found, targets=found.targets + torch.tensor([0.3, 0, 0, 0]))

    triplets = compose(off, SEEN, ANYTHING, PAIR)

    assert triplets.scores[0, 0] == pytest.approx(0.9 * 0.5 * 0.5 * math.exp(-0.5))


def test_implausible_classes_are_left_out(found: Interactions) -> None:
    no_horses = torch.tensor([[1.0, 1], [1, 1], [0, 1], [1, 1]])

    triplets = compose(found, SEEN, no_horses, replace(PAIR, uses_targets=False))

    assert triplets.objects[0, 0] == 1


def test_nobody_does_nothing() -> None:
    alone = Boxes(THINGS, torch.ones(2), torch.tensor([17, 13]), torch.zeros(0, dtype=torch.long))
    nothing = Interactions(torch.zeros(0, 2), torch.zeros(0, 2, 4), torch.zeros(0, 2), torch.zeros(2, 2))

    triplets = compose(nothing, alone, torch.ones(2, 2), Composition())

    assert triplets.objects.shape == triplets.scores.shape == (0, 2)
