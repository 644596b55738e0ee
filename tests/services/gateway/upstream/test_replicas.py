import socket
from collections.abc import Sequence
from contextlib import ExitStack

import httpx2
import pytest

from services.gateway.upstream import health_poller
from services.gateway.upstream.replicas import Replica, ReplicaFleet, addresses
from sightline.api.problems import Code, Problem
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start

NAME = "dns+http://echo:8000"


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


@pytest.mark.anyio
async def test_every_address_of_a_name_is_a_replica() -> None:
    assert "http://127.0.0.1:8000" in (await addresses("dns+http://localhost:8000") or ())


@pytest.mark.anyio
@pytest.mark.parametrize(("error", "expected"), [(socket.EAI_NONAME, ()), (socket.EAI_AGAIN, None)])
async def test_a_name_that_is_not_there_differs_from_a_dns_that_is_not(
    monkeypatch: pytest.MonkeyPatch, error: int, expected: tuple[str, ...] | None
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(error, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert await addresses(NAME) == expected


@pytest.mark.anyio
async def test_an_address_that_dns_says_twice_is_one_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::5", 8000, 0, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [stream, stream])
    assert await addresses(NAME) == ["http://[fd00::5]:8000"]


class Dns:
    """What `echo` stands for, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.urls: Sequence[str] | None = ()
        monkeypatch.setattr(health_poller, "addresses", self._addresses)

    async def _addresses(self, name: str) -> Sequence[str] | None:
        assert name == NAME
        return self.urls


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    return Dns(monkeypatch)


def replicas(gateway_url: str) -> tuple[int, int]:
    """All, and those that are ready."""
    model = httpx2.get(f"{gateway_url}/v1/models/echo").json()
    return model["replicas"], model["ready_replicas"]


def test_replicas_come_and_go_with_their_name(
    dns: Dns, start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    first, second = start(make_service()), start(make_service())
    gateway = open_gateway({"echo": [NAME]}, wait=False)
    assert replicas(gateway.url) == (0, 0)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=b"x").status_code == 503
    dns.urls = [first.url, second.url]
    eventually(lambda: replicas(gateway.url) == (2, 2))
    dns.urls = [second.url]
    eventually(lambda: replicas(gateway.url) == (1, 1))
    first.stop()
    assert httpx2.post(f"{gateway.url}/v1/echo", content=b"x").text == "x"


def test_while_dns_is_away_those_that_are_well_stay(
    dns: Dns, start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    first, second = start(make_service()), start(make_service())
    dns.urls = [first.url, second.url]
    gateway = open_gateway({"echo": [NAME]})
    eventually(lambda: replicas(gateway.url) == (2, 2))
    dns.urls = None
    first.stop()
    eventually(lambda: replicas(gateway.url) == (1, 1))
