import pytest

from sightline.api.problems import Code, Problem
from sightline.serving.admission import Admission


def assert_refused(admission: Admission, size_bytes: int) -> None:
    with pytest.raises(Problem) as caught, admission.hold(size_bytes):
        pass
    assert caught.value.code is Code.OVERLOADED
    assert caught.value.retry_after_s is not None


def test_places_are_bounded_and_given_back() -> None:
    admission = Admission(max_requests=2, max_bytes=100)
    with admission.hold(10):
        with admission.hold(10):
            assert_refused(admission, 10)
            assert not admission.empty.is_set()
        with admission.hold(10):
            assert admission.requests == 2
    assert (admission.requests, admission.bytes) == (0, 0)
    assert admission.empty.is_set()


def test_bytes_are_bounded() -> None:
    admission = Admission(max_requests=9, max_bytes=100)
    with admission.hold(60):
        assert_refused(admission, 50)
        with admission.hold(40):
            assert admission.bytes == 100


def test_one_request_always_has_room() -> None:
    with Admission(max_requests=9, max_bytes=100).hold(1000):
        pass


def test_a_failing_request_gives_its_place_back() -> None:
    admission = Admission(max_requests=1, max_bytes=100)
    with pytest.raises(ValueError, match="broken"), admission.hold(10):
        raise ValueError("broken")
    assert admission.empty.is_set()
