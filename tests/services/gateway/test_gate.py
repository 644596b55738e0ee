import pytest

from services.gateway.gate import Gate, Pass
from sightline.api.problems import Code, Problem


def test_counts_requests_and_bytes_while_they_are_in_flight() -> None:
    gate = Gate(max_requests=2, max_bytes=100)
    with Pass(gate).admit(40), Pass(gate).admit(60):
        assert (gate.requests, gate.size_bytes) == (2, 100)
    assert (gate.requests, gate.size_bytes) == (0, 0)


def test_refuses_one_request_too_many() -> None:
    gate = Gate(max_requests=1, max_bytes=100)
    with Pass(gate).admit(0), pytest.raises(Problem) as caught, Pass(gate).admit(0):
        pass
    assert caught.value.code == Code.OVERLOADED
    assert caught.value.retry_after_s is not None
    assert gate.requests == 0


def test_refuses_more_declared_bytes_than_there_is_room_for() -> None:
    gate = Gate(max_requests=9, max_bytes=100)
    with Pass(gate).admit(60), pytest.raises(Problem), Pass(gate).admit(41):
        pass
    assert (gate.requests, gate.size_bytes) == (0, 0)


def test_reserves_undeclared_bytes_as_they_come() -> None:
    gate = Gate(max_requests=9, max_bytes=100)
    ticket = Pass(gate)
    with ticket.admit(10):
        ticket.receive(10)
        assert gate.size_bytes == 10
        ticket.receive(50)
        assert gate.size_bytes == 60
        with pytest.raises(Problem):
            ticket.receive(41)
    assert gate.size_bytes == 0


def test_gives_room_back_that_is_not_needed_after_all() -> None:
    gate = Gate(max_requests=9, max_bytes=100)
    ticket = Pass(gate)
    with ticket.admit(60):
        ticket.waive()
        ticket.receive(1000)
        assert (gate.requests, gate.size_bytes) == (1, 0)
    assert (gate.requests, gate.size_bytes) == (0, 0)
