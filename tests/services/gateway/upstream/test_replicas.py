from contextlib import ExitStack

import pytest

from services.gateway.upstream.replicas import Replica, ReplicaFleet
from sightline.api.problems import Code, Problem


def fleet_of(count: int, *, max_requests: int = 9) -> tuple[ReplicaFleet, list[Replica]]:
    urls = [f"http://replica-{index}" for index in range(count)]
    fleet = ReplicaFleet({"inpaint": urls}, max_requests_per_replica=max_requests)
    replicas = list(fleet)
    for replica in replicas:
        replica.ready = True
    return fleet, replicas


def test_chooses_the_replica_with_the_fewest_requests_in_flight() -> None:
    fleet, (first, second) = fleet_of(2)
    second.observe(9.0)
    with first.busy():
        assert fleet.choose("inpaint") is second


def test_among_equally_busy_ones_chooses_the_quickest_of_late() -> None:
    fleet, (first, second) = fleet_of(2)
    first.observe(0.5)
    second.observe(0.1)
    assert fleet.choose("inpaint") is second


def test_latency_follows_the_newest_replies() -> None:
    replica = Replica("inpaint", "http://replica")
    replica.observe(1.0)
    assert replica.latency_s == 1.0
    for _ in range(60):
        replica.observe(0.1)
    assert replica.latency_s == pytest.approx(0.1, rel=0.01)


def test_passes_over_replicas_that_are_not_ready_or_were_tried() -> None:
    fleet, (first, second, third) = fleet_of(3)
    first.ready = False
    assert fleet.choose("inpaint", excluding={second}) is third


def test_without_a_ready_replica_says_when_to_try_again() -> None:
    fleet, (only,) = fleet_of(1)
    only.ready = False
    with pytest.raises(Problem) as caught:
        fleet.choose("inpaint")
    assert caught.value.code == Code.NOT_READY
    assert caught.value.retry_after_s is not None


def test_replicas_with_their_fill_are_an_overload() -> None:
    fleet, (only,) = fleet_of(1, max_requests=1)
    with only.busy(), pytest.raises(Problem) as caught:
        fleet.choose("inpaint")
    assert caught.value.code == Code.OVERLOADED


def test_one_caller_leaves_places_at_a_replica_to_others() -> None:
    fleet, (only,) = fleet_of(1, max_requests=8)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(fleet.choose("inpaint", "busy").busy("busy"))
        with pytest.raises(Problem) as caught:
            fleet.choose("inpaint", "busy")
        assert caught.value.code == Code.TOO_MANY_REQUESTS
        assert fleet.choose("inpaint", "other") is only
    assert fleet.choose("inpaint", "busy") is only
    assert not only.in_flight_of


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    fleet, _ = fleet_of(1)
    with pytest.raises(Problem) as caught:
        fleet.choose("outpaint")
    assert caught.value.code == Code.NOT_FOUND
    assert caught.value.facts == {"models": ["inpaint"]}


def test_is_ready_when_every_model_has_a_ready_replica() -> None:
    fleet = ReplicaFleet({"hoi": ["http://a", "http://b"], "inpaint": ["http://c"]}, max_requests_per_replica=1)
    hoi, _, inpaint = fleet
    hoi.ready = True
    assert not fleet.ready
    inpaint.ready = True
    assert fleet.ready


def test_a_model_that_may_rest_is_not_waited_for() -> None:
    fleet = ReplicaFleet({"hoi": ["http://a"], "inpaint": ["http://b"]}, max_requests_per_replica=1, resting=["hoi"])
    _, inpaint = fleet
    assert not fleet.ready
    inpaint.ready = True
    assert fleet.ready


def test_a_fleet_without_models_is_never_ready() -> None:
    assert not ReplicaFleet({}, max_requests_per_replica=1).ready
