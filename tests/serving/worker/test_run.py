import pytest

from sightline.api.problems import Code, Problem
from sightline.inference.stages import Stage, Stages
from sightline.jobs.job import Progress
from sightline.serving.worker.run import is_transient, progress_of

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


def test_a_share_is_of_the_rounds_and_ends_with_them() -> None:
    stages = Stages()
    assert progress_of(stages) == Progress("read")
    stages.current, stages.share = Stage.INFER, 2 / 3
    assert progress_of(stages) == Progress("infer", 0.667)
    stages.current = Stage.ENCODE
    assert progress_of(stages) == Progress("encode")


@pytest.mark.parametrize("code", Code)
def test_only_what_may_pass_is_tried_again(code: Code) -> None:
    assert is_transient(Problem(code, "A fault.")) == (code in TRANSIENT)
