import json
from dataclasses import replace

from sightline.jobs.job import BlobRef, Job, Priority, Reason, State, StoredRequest
from sightline.jobs.webhooks.message import message_about, trial_message

JOB = Job(
    id="job-1",
    model="inpaint",
    owner="ada",
    priority=Priority.BULK,
    reason=Reason.ASKED,
    state=State.SUCCEEDED,
    request=StoredRequest("/v1/inpaint", "", "image/png", None, BlobRef("0" * 64, 1)),
    request_id="request-1",
    created_at=1.0,
    finished_at=1_700_000_000.25,
)


def test_a_message_says_what_happened_when_to_which_job() -> None:
    message = message_about(JOB, lambda job: {"id": job.id})
    assert json.loads(message.body) == {
        "type": "job.succeeded",
        "timestamp": "2023-11-14T22:13:20.250000+00:00",
        "data": {"id": "job-1"},
    }


def test_the_id_is_that_of_the_event() -> None:
    def id_of(job: Job) -> str:
        return message_about(job, lambda _: {}).id

    dead = replace(JOB, state=State.DEAD)
    dead_again = replace(dead, finished_at=1_700_000_099.0)
    assert id_of(JOB) == id_of(replace(JOB, attempts=3))
    assert len({id_of(job) for job in (JOB, dead, dead_again, replace(JOB, id="job-2"))}) == 4


def test_a_test_event_says_that_it_is_one() -> None:
    event = json.loads(trial_message("test-1", 0.0).body)
    assert event == {"type": "webhook.test", "timestamp": "1970-01-01T00:00:00+00:00", "data": {}}
