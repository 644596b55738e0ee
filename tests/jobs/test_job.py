import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import (
    TERMINAL,
    BlobRef,
    JobReason,
    JobState,
    Priority,
    StoredRequest,
    Submission,
    Webhook,
    job_from_hash,
    job_from_reply,
    read_priority,
    submission_hash,
)

REQUEST = StoredRequest("/v1/inpaint", "format=png", "image/png", None, BlobRef("0" * 64, 3), "00-1-2-01")
SUBMISSION = Submission(
    "one",
    "inpaint",
    "ada",
    Priority.BULK,
    JobReason.PIXELS,
    REQUEST,
    "r1",
    "f1",
    webhook=Webhook("https://a.b", "whsec_"),
)
ADDED_BY_THE_QUEUE = {"state": "queued", "created_at": "1.5", "attempts": "0", "place": "7"}


def test_submission_hash_is_read_back_as_the_job() -> None:
    job = job_from_hash({**submission_hash(SUBMISSION), **ADDED_BY_THE_QUEUE})
    assert (job.request, job.webhook, job.priority) == (REQUEST, SUBMISSION.webhook, Priority.BULK)
    assert (job.state, job.created_at, job.caller) == (JobState.QUEUED, 1.5, None)


def test_job_is_read_from_a_flat_reply() -> None:
    fields = {**submission_hash(SUBMISSION), **ADDED_BY_THE_QUEUE}
    assert job_from_reply([each for pair in fields.items() for each in pair]) == job_from_hash(fields)


def test_only_ended_states_are_terminal() -> None:
    assert {state for state in JobState if state.terminal} == TERMINAL
    assert {state for state in JobState if not state.terminal} == {JobState.QUEUED, JobState.RUNNING, JobState.RETRYING}


def test_priority_header_is_read() -> None:
    assert (read_priority(None), read_priority("bulk")) == (None, Priority.BULK)


def test_unknown_priority_is_refused_with_the_accepted_ones() -> None:
    with pytest.raises(Problem, match="interactive or bulk") as caught:
        read_priority("urgent")
    assert caught.value.code is Code.INVALID_REQUEST
