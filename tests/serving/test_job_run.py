import pytest

from sightline.api.problems import Code, Problem
from sightline.serving.job_run import is_transient

TRANSIENT = {
    Code.CANCELLED,
    Code.INTERNAL,
    Code.UPSTREAM_FAILED,
    Code.OVERLOADED,
    Code.NOT_READY,
    Code.QUEUE_UNAVAILABLE,
    Code.STORAGE_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED,
}


@pytest.mark.parametrize("code", Code)
def test_only_what_may_pass_is_tried_again(code: Code) -> None:
    assert is_transient(Problem(code, "A fault.")) == (code in TRANSIENT)
