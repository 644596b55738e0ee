import itertools

import pytest
from structlog.testing import capture_logs

from sightline.api.problems import Code, Problem
from sightline.runtime.retries import FIRST_WAIT_S, LONGEST_WAIT_S, patiently, waits_s

pytestmark = pytest.mark.anyio


class Flaky:
    """Fails with each of the codes in turn, then succeeds."""

    def __init__(self, *codes: Code) -> None:
        self.codes = list(codes)

    async def __call__(self) -> str:
        if self.codes:
            raise Problem(self.codes.pop(0), "Away.")
        return "done"


async def test_goes_on_while_something_is_away() -> None:
    with capture_logs() as told:
        assert await patiently(Flaky(Code.STORAGE_UNAVAILABLE, Code.QUEUE_UNAVAILABLE)) == "done"
    assert [(entry["event"], entry["code"]) for entry in told] == [("job_waits", Code.STORAGE_UNAVAILABLE)]


async def test_what_is_no_outage_is_told_at_once() -> None:
    step = Flaky(Code.GONE, Code.STORAGE_UNAVAILABLE)
    with pytest.raises(Problem) as caught:
        await patiently(step)
    assert (caught.value.code, step.codes) == (Code.GONE, [Code.STORAGE_UNAVAILABLE])


def test_waits_grow_to_a_limit_and_are_never_nothing() -> None:
    waits = list(itertools.islice(waits_s(), 20))
    assert all(FIRST_WAIT_S / 2 <= wait <= LONGEST_WAIT_S for wait in waits)
    assert waits[-1] >= LONGEST_WAIT_S / 2
