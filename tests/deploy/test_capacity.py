"""The queueing model compared with a simulation and with closed-form solutions."""

from pathlib import Path

import pytest

from tests.scripts import load_script

FILE = Path(__file__).parents[2] / "deploy" / "capacity.py"


capacity = load_script(FILE)


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9])
def test_batch_size_one_matches_pollaczek_khinchine(load: float) -> None:
    replica = capacity.Replica(fixed_s=0.0, each_s=0.1)
    expected = 0.1 + load * 0.1 / (2 * (1 - load))
    assert capacity.mean_response_s(replica, load / 0.1) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("load", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("max_batch", [1, 4, 8])
def test_model_matches_simulation(load: float, max_batch: int) -> None:
    replica = capacity.Replica(fixed_s=0.02, each_s=0.01, max_batch=max_batch)
    rate_per_s = load * replica.capacity_per_s
    played = capacity.simulate(replica, rate_per_s, requests=20_000)
    assert capacity.mean_response_s(replica, rate_per_s) == pytest.approx(played, rel=0.15)


def test_queue_beyond_capacity_has_infinite_response_time() -> None:
    replica = capacity.Replica(fixed_s=0.0, each_s=0.1)
    assert capacity.mean_response_s(replica, 10.0) == float("inf")


@pytest.mark.parametrize("replicas", [2, 8])
def test_more_replicas_wait_less_at_same_load(replicas: int) -> None:
    replica = capacity.Replica(fixed_s=0.0, each_s=0.1)
    alone = capacity.mean_response_s(replica, 8.0)
    together = capacity.simulate(replica, 8.0 * replicas, replicas=replicas, requests=10_000)
    assert 0.1 <= together < 0.8 * alone


@pytest.mark.parametrize("table", ["print_waiting", "print_replicas", "print_h100"])
def test_page_has_computed_tables(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(capacity, table)()
    rows = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("|---")]
    page = (FILE.parents[1] / "docs" / "scaling.md").read_text()
    assert [row for row in rows if row not in page] == []
