"""The service composes scores in NumPy, training and evaluation in torch: what was measured must be what is served."""

import tomllib

import numpy as np
import pytest
import torch

from services.hoi.facts import Facts
from services.hoi.found import Found
from services.hoi.interactions import interactions
from sightline.networks.cascade import ActionScore, Boxes, Composition, compose
from sightline.networks.faster_rcnn import Detecting
from sightline.networks.interactnet import Interactions
from sightline.training.hoi.contract import contract_of
from sightline.training.hoi.predictions import plausible_slots
from sightline.training.hoi.verbs import CLASS_INDEX, PERSON, SLOTS

COUNT = 40


@pytest.fixture
def found() -> Found:
    """A crowd with things, about which any network might have said this."""
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 200, (COUNT, 2))
    of_slots = (COUNT, len(SLOTS))
    return Found(
        boxes_xyxy=np.hstack([corners, corners + rng.uniform(20, 90, (COUNT, 2))]).astype(np.float32),
        scores=np.sort(rng.uniform(0.05, 1, COUNT).astype(np.float32))[::-1].copy(),
        labels=rng.choice([PERSON, *(CLASS_INDEX[name] for name in ("cup", "horse", "laptop", "chair"))], COUNT).astype(
            np.int64
        ),
        actions=rng.uniform(0, 1, of_slots).astype(np.float32),
        targets=rng.normal(0, 0.7, (*of_slots, 4)).astype(np.float32),
        person_logits=rng.normal(0, 2, of_slots).astype(np.float32),
        object_logits=rng.normal(0, 2, of_slots).astype(np.float32),
    )


@pytest.mark.parametrize("how", list(ActionScore))
def test_the_service_tells_what_evaluation_measures(found: Found, how: ActionScore) -> None:
    composition = Composition(how, sigma=1.0, empty_role=0.05)
    facts = Facts.model_validate(tomllib.loads(contract_of(composition, Detecting(), 320, "1.0.0"))["facts"])
    people = np.flatnonzero(found.labels == PERSON)

    told = interactions(found, people.tolist(), facts, objects_per_role=1)

    boxes, scores, labels = (torch.from_numpy(each) for each in (found.boxes_xyxy, found.scores, found.labels))
    said = [torch.from_numpy(each[people]) for each in (found.actions, found.targets, found.person_logits)]
    measured = compose(
        Interactions(said[0], said[1], said[2], torch.from_numpy(found.object_logits)),
        Boxes(boxes, scores, labels, torch.from_numpy(people)),
        plausible_slots()[labels],
        composition,
    )
    slots = [str(slot) for slot in facts.slots]
    assert len(told) == len(people) * len(SLOTS)
    assert {each.object is None for each in told} == {True, False}
    for each in told:
        row, slot = people.tolist().index(each.person), slots.index(str(each.slot))
        assert measured.objects[row, slot] == (-1 if each.object is None else each.object)
        expected = measured.scores if each.object is not None else measured.agents
        assert each.score == pytest.approx(float(expected[row, slot]), rel=1e-4)
