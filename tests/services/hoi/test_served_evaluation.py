"""The evaluation of a running service gives the figures of the evaluation in process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.hoi.app import create
from sightline.cli.models import sample_pictures
from sightline.client import Client
from sightline.postprocessing.interactions import Composition
from sightline.training.hoi.annotations import PERSON, SLOTS, boxes_without_actions
from sightline.training.hoi.average_precision import Prediction, role_scores
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.evaluation import ServedScene, methods, predict_scenes, served_scenes
from sightline.training.hoi.export import read_facts
from sightline.training.hoi.predictions import OnnxInteractNet, to_prediction
from sightline.training.served_model import RemoteServedModel
from tests.services.hoi.test_app import Serve
from tests.services.prediction import ready_client

WEIGHTS = Path("services/hoi/weights/detector.onnx")
ROLES = [at for at, (_, role) in enumerate(SLOTS) if role is not None]
SMILE = SLOTS.index(("smile", None))


@pytest.fixture(scope="module")
def scene() -> Scene:
    """The astronaut, who smiles."""
    (photo,) = sample_pictures("hoi").values()
    truth = boxes_without_actions(np.array([[0, 0, 460, 512]], np.float32), np.array([PERSON]))
    actions = np.zeros_like(truth.actions)
    actions[0, SMILE] = 1
    return Scene(photo, 512, 512, replace(truth, actions=actions))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, serve: Serve, scene: Scene) -> Iterator[ServedScene]:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "cpu")
    url = serve(create())
    with ready_client(url), Client(url) as client:
        yield from served_scenes(RemoteServedModel("hoi", client), [scene])


def in_process(scene: Scene) -> Prediction:
    facts = read_facts(WEIGHTS)
    composition = Composition(facts["action_score"], facts["sigma"], facts["thresholds"]["empty_role"])
    (predicted,) = predict_scenes(OnnxInteractNet(WEIGHTS.parent, facts["longest_side_px"]), [scene])
    return to_prediction(predicted.boxes, methods(composition, [scene])["InteractNet"](predicted), predicted.scale)


def test_served_predictions_are_those_of_the_evaluation(served: ServedScene, scene: Scene) -> None:
    ours, theirs = in_process(scene), served.prediction
    order = [int(np.abs(theirs.people - person).sum(1).argmin()) for person in ours.people]

    assert len(ours.people) == len(theirs.people) > 0
    np.testing.assert_allclose(theirs.people[order], ours.people, atol=0.05)
    np.testing.assert_allclose(theirs.role_scores[order][:, ROLES], ours.role_scores[:, ROLES], atol=1e-4)
    np.testing.assert_allclose(theirs.role_boxes[order], ours.role_boxes, atol=0.05)
    figures = [role_scores([each], [scene.truth]) for each in (ours, theirs)]
    assert figures[0].agent["smile", None] == pytest.approx(figures[1].agent["smile", None]) == 1
