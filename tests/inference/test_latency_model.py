from dataclasses import dataclass, field

import numpy as np
import pytest

from sightline.inference.contract import ContractError
from sightline.inference.latency_model import LatencyModel, warm
from sightline.inference.signature import ModelSignature, Tensors, TensorSpec

KEY = ((4,),)
SIGNATURE = ModelSignature(
    inputs=(TensorSpec("x", "float32", ("n",)),), outputs=(TensorSpec("y", "float32", ("n",)),), buckets=({"n": 4},)
)


@dataclass
class TimedSession:
    """Takes `fixed_s + count * each_s` by a clock of its own."""

    fixed_s: float
    each_s: float
    max_batch: int | None = None
    provider: str = "numpy"
    precision: str = "fp32"
    now_s: float = 0.0
    sizes: list[int] = field(default_factory=list)
    output_size: int = 4

    def run(self, batch: Tensors) -> Tensors:
        count = len(batch["x"])
        self.sizes.append(count)
        self.now_s += self.fixed_s + count * self.each_s
        return {"y": np.zeros((count, self.output_size), np.float32)}


def warmed(session: TimedSession, monkeypatch: pytest.MonkeyPatch, *, max_batch: int = 8) -> LatencyModel:
    monkeypatch.setattr("time.perf_counter", lambda: session.now_s)
    return warm(session, SIGNATURE, max_batch=max_batch)


def test_batches_grow_where_that_makes_a_sample_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    session = TimedSession(fixed_s=0.05, each_s=0.005)
    measured = warmed(session, monkeypatch)
    assert measured.sizes == {KEY: (1, 2, 4, 8)}
    assert sorted(set(session.sizes)) == [1, 2, 4, 8]
    assert measured.estimate_s(KEY, 8) == pytest.approx(0.09)


def test_batches_stay_at_one_where_they_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = warmed(TimedSession(fixed_s=0.0, each_s=0.01), monkeypatch)
    assert measured.sizes == {KEY: (1,)}
    assert measured.largest_batch(KEY, 5) == 1
    assert measured.estimate_s(KEY, 5) == pytest.approx(0.05)


def test_long_runs_are_not_tried_in_larger_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    session = TimedSession(fixed_s=0.09, each_s=0.02)
    assert warmed(session, monkeypatch).sizes == {KEY: (1,)}
    assert max(session.sizes) == 1


def test_delayed_runs_of_small_batches_do_not_make_large_ones_look_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    class BusyMachine(TimedSession):
        def run(self, batch: Tensors) -> Tensors:
            self.now_s += 0.02 * (len(self.sizes) == 1)  # other processes take the cores
            return super().run(batch)

    measured = warmed(BusyMachine(fixed_s=0.0, each_s=0.01), monkeypatch)
    assert measured.sizes == {KEY: (1,)}
    assert measured.estimate_s(KEY, 1) == pytest.approx(0.01)


@pytest.mark.parametrize(("most", "of_file", "sizes"), [(3, None, (1, 2)), (8, 2, (1, 2)), (8, 1, (1,))])
def test_batches_stay_within_the_bounds(
    monkeypatch: pytest.MonkeyPatch, most: int, of_file: int | None, sizes: tuple[int, ...]
) -> None:
    session = TimedSession(fixed_s=0.05, each_s=0.0, max_batch=of_file)
    assert warmed(session, monkeypatch, max_batch=most).sizes == {KEY: sizes}


def test_estimates_follow_what_is_observed() -> None:
    latency_model = LatencyModel({KEY: {1: 1.0, 4: 2.0}})
    assert latency_model.estimate_s(KEY, 6) == pytest.approx(2.0 + 1.0 + 1.0)
    for _ in range(60):
        latency_model.observe(KEY, 4, 3.0)
    assert latency_model.estimate_s(KEY, 4) == pytest.approx(3.0, rel=1e-3)
    assert latency_model.largest_batch(KEY, 3) == 1


def test_output_of_the_wrong_size_is_found_while_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    session = TimedSession(fixed_s=1.0, each_s=1.0, output_size=2)
    with pytest.raises(ContractError, match=r"output 'y': expected a batch of shape \(1, 4\), got \(1, 2\)"):
        warmed(session, monkeypatch)
