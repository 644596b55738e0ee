import socket
from contextlib import ExitStack

import pytest

from services.gateway.upstream.replicas import Replica, ReplicaFleet, resolve_replicas
from sightline.api.problems import Code, Problem

NAME = "dns+http://echo:8000"


def fleet_of(count: int, *, max_requests: int = 9) -> tuple[ReplicaFleet, list[Replica]]:
    urls = [f"http://replica-{index}" for index in range(count)]
    fleet = ReplicaFleet({"inpaint": urls}, max_requests_per_replica=max_requests)
    replicas = list(fleet)
    for replica in replicas:
        replica.ready = True
    return fleet, replicas


def test_choice_is_the_replica_with_the_fewest_requests_in_flight() -> None:
    fleet, (first, second) = fleet_of(2)
    second.observe(9.0)
    with first.busy():
        assert fleet.choose("inpaint") is second


def test_choice_among_equally_busy_replicas_is_the_fastest() -> None:
    fleet, (first, second) = fleet_of(2)
    first.observe(0.5)
    second.observe(0.1)
    assert fleet.choose("inpaint") is second


def test_latency_is_a_moving_average() -> None:
    replica = Replica("inpaint", "http://replica")
    replica.observe(1.0)
    assert replica.latency_s == 1.0
    for _ in range(60):
        replica.observe(0.1)
    assert replica.latency_s == pytest.approx(0.1, rel=0.01)


def test_choice_excludes_replicas_not_ready_or_already_tried() -> None:
    fleet, (first, second, third) = fleet_of(3)
    first.ready = False
    assert fleet.choose("inpaint", excluding={second}) is third


def test_choice_without_a_ready_replica_is_not_ready_with_retry_after() -> None:
    fleet, (only,) = fleet_of(1)
    only.ready = False
    with pytest.raises(Problem) as caught:
        fleet.choose("inpaint")
    assert caught.value.code == Code.NOT_READY
    assert caught.value.retry_after_s is not None


def test_choice_among_replicas_at_their_limit_is_overloaded() -> None:
    fleet, (only,) = fleet_of(1, max_requests=1)
    with only.busy(), pytest.raises(Problem) as caught:
        fleet.choose("inpaint")
    assert caught.value.code == Code.OVERLOADED


def test_one_caller_cannot_take_all_of_a_replica() -> None:
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


def test_unknown_model_is_not_found_with_the_known_models() -> None:
    fleet, _ = fleet_of(1)
    with pytest.raises(Problem) as caught:
        fleet.choose("outpaint")
    assert caught.value.code == Code.NOT_FOUND
    assert caught.value.facts == {"models": ["inpaint"]}


def test_fleet_is_ready_when_every_model_has_a_ready_replica() -> None:
    fleet = ReplicaFleet({"hoi": ["http://a", "http://b"], "inpaint": ["http://c"]}, max_requests_per_replica=1)
    hoi, _, inpaint = fleet
    hoi.ready = True
    assert not fleet.ready
    inpaint.ready = True
    assert fleet.ready


def test_fleet_is_ready_without_a_resting_model() -> None:
    fleet = ReplicaFleet({"hoi": ["http://a"], "inpaint": ["http://b"]}, max_requests_per_replica=1, resting=["hoi"])
    _, inpaint = fleet
    assert not fleet.ready
    inpaint.ready = True
    assert fleet.ready


def test_fleet_without_models_is_never_ready() -> None:
    assert not ReplicaFleet({}, max_requests_per_replica=1).ready


@pytest.mark.anyio
async def test_every_address_of_a_dns_name_is_a_replica() -> None:
    assert "http://127.0.0.1:8000" in (await resolve_replicas("dns+http://localhost:8000") or ())


@pytest.mark.anyio
@pytest.mark.parametrize(("error", "expected"), [(socket.EAI_NONAME, ()), (socket.EAI_AGAIN, None)])
async def test_unknown_name_differs_from_unreachable_dns(
    monkeypatch: pytest.MonkeyPatch, error: int, expected: tuple[str, ...] | None
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(error, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert await resolve_replicas(NAME) == expected


@pytest.mark.anyio
async def test_repeated_address_of_a_name_is_one_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::5", 8000, 0, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [stream, stream])
    assert await resolve_replicas(NAME) == ["http://[fd00::5]:8000"]
