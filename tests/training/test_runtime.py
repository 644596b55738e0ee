import time

import torch

from sightline.training.runtime import Precision, fastest_precision, join_workers


def test_faster_precision_is_chosen() -> None:
    def step(precision: Precision) -> None:
        time.sleep(0.02 if precision == "fp32" else 0.001)

    assert fastest_precision(step, torch.device("cpu")) == "bf16"


def test_single_process_is_the_leader() -> None:
    with join_workers() as worker:
        assert worker.leads
        assert worker.count == 1
