"""Bound runs, on the one device that every machine has."""

import numpy as np
import onnxruntime as ort
import pytest

from sightline.inference.binding import BoundRunner
from sightline.inference.weights import Weights


@pytest.fixture
def runner(tiny_weights: Weights) -> BoundRunner:
    session = ort.InferenceSession(str(tiny_weights.path), providers=["CPUExecutionProvider"])
    return BoundRunner(session, device="cpu", device_id=0)


def test_each_run_answers_for_its_own_inputs(runner: BoundRunner) -> None:
    for value in (0, 51, 255, 51):
        for side in (8, 16):
            image = np.full((2, side, side, 3), value, np.uint8)
            inverted = runner.run({"image": image})["inverted"]
            assert inverted.shape == image.shape
            np.testing.assert_allclose(inverted, 1 - value / 255, atol=1e-6)


def test_an_answer_outlives_the_next_run(runner: BoundRunner) -> None:
    first = runner.run({"image": np.zeros((1, 8, 8, 3), np.uint8)})["inverted"]
    second = runner.run({"image": np.full((1, 8, 8, 3), 255, np.uint8)})["inverted"]
    third = runner.run({"image": np.full((1, 8, 8, 3), 51, np.uint8)})["inverted"]
    assert (first.max(), second.max()) == pytest.approx((1, 0))
    assert third.max() == pytest.approx(0.8)
