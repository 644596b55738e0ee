from contextlib import ExitStack

import pytest

from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter, Permit


def limiter(max_requests: int = 9, max_bytes: int = 100) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(max_requests=max_requests, max_bytes=max_bytes)


def assert_refused(
    limits: ConcurrencyLimiter, size_bytes: int, caller: str = "a", code: Code = Code.OVERLOADED
) -> None:
    before = (limits.requests, limits.size_bytes)
    with pytest.raises(Problem) as caught, Permit(limits, caller).admit(size_bytes):
        pass
    assert caught.value.code is code
    assert caught.value.retry_after_s is not None
    assert (limits.requests, limits.size_bytes) == before


def test_limiter_counts_requests_and_bytes_in_flight() -> None:
    limits = limiter(max_requests=2)
    with Permit(limits, "a").admit(40), Permit(limits, "b").admit(60):
        assert (limits.requests, limits.size_bytes) == (2, 100)
        assert_refused(limits, 0)
        assert not limits.empty.is_set()
    assert (limits.requests, limits.size_bytes) == (0, 0)
    assert limits.empty.is_set()


def test_declared_bytes_beyond_the_limit_are_refused() -> None:
    limits = limiter()
    with Permit(limits, "a").admit(60):
        assert_refused(limits, 41, "b")
        with Permit(limits, "b").admit(40):
            assert limits.size_bytes == 100


def test_undeclared_bytes_are_reserved_as_they_come() -> None:
    limits = limiter()
    permit = Permit(limits, "a")
    with Permit(limits, "b").admit(1), permit.admit(10):
        permit.hold(10)
        assert limits.size_bytes == 11
        permit.hold(60)
        assert limits.size_bytes == 61
        with pytest.raises(Problem):
            permit.hold(101)
    assert limits.size_bytes == 0


def test_waived_permit_gives_its_bytes_back() -> None:
    limits = limiter()
    permit = Permit(limits, "a")
    with permit.admit(60):
        permit.waive()
        permit.hold(1000)
        assert (limits.requests, limits.size_bytes) == (1, 0)
    assert (limits.requests, limits.size_bytes) == (0, 0)


def test_single_request_has_room_whatever_its_size() -> None:
    limits = ConcurrencyLimiter(max_requests=9, max_bytes=100, always_admit_one=True)
    with Permit(limits, "a").admit(1000):
        assert_refused(limits, 1, "b")


def test_failed_request_gives_its_place_back() -> None:
    limits = limiter(max_requests=1)
    with pytest.raises(ValueError, match="broken"), Permit(limits, "a").admit(10):
        raise ValueError("broken")
    assert limits.empty.is_set()


@pytest.mark.parametrize(("callers", "each"), [(1, 384), (2, 220), (9, 55), (100, 6)])
def test_callers_at_their_share_leave_room_for_others(callers: int, each: int) -> None:
    limits = limiter(max_requests=512)
    with ExitStack() as held:
        for _ in range(512):
            for caller in range(callers):
                if admits(limits, str(caller)):
                    held.enter_context(Permit(limits, str(caller)).admit())
        assert limits.requests <= callers * each
        held.enter_context(Permit(limits, "somebody else").admit())


def admits(limits: ConcurrencyLimiter, caller: str) -> bool:
    try:
        limits.check(caller)
    except Problem:
        return False
    return True


def test_caller_at_its_share_gets_too_many_requests() -> None:
    limits = limiter(max_requests=8, max_bytes=80)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(Permit(limits, "a").admit(10))
        assert_refused(limits, 0, "a", Code.TOO_MANY_REQUESTS)
        held.enter_context(Permit(limits, "b").admit(10))
    with Permit(limits, "a").admit(50), Permit(limits, "b").admit(10):
        assert_refused(limits, 10, "a", Code.TOO_MANY_REQUESTS)
        with Permit(limits, "b").admit(10):
            pass
