import base64
import json
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from sightline.api.problems import Code, Problem
from sightline.jobs.job import BlobRef, Job, JobReason, JobState, Priority, StoredRequest
from sightline.jobs.webhooks.message import job_ended_message, signed_headers, signing_key, webhook_test_message

JOB = Job(
    id="job-1",
    model="inpaint",
    owner="ada",
    priority=Priority.BULK,
    reason=JobReason.ASKED,
    state=JobState.SUCCEEDED,
    request=StoredRequest("/v1/inpaint", "", "image/png", None, BlobRef("0" * 64, 1)),
    request_id="request-1",
    created_at=1.0,
    finished_at=1_700_000_000.25,
)


def test_message_has_event_time_and_job() -> None:
    message = job_ended_message(JOB, lambda job: {"id": job.id})
    assert json.loads(message.body) == {
        "type": "job.succeeded",
        "timestamp": "2023-11-14T22:13:20.250000+00:00",
        "data": {"id": "job-1"},
    }


def test_signature_headers_carry_the_message_id() -> None:
    def id_of(job: Job) -> str:
        return job_ended_message(job, lambda _: {}).id

    dead = replace(JOB, state=JobState.DEAD)
    dead_again = replace(dead, finished_at=1_700_000_099.0)
    assert id_of(JOB) == id_of(replace(JOB, attempts=3))
    assert len({id_of(job) for job in (JOB, dead, dead_again, replace(JOB, id="job-2"))}) == 4


def test_test_event_has_its_own_type() -> None:
    event = json.loads(webhook_test_message("test-1", 0.0).body)
    assert event == {"type": "webhook.test", "timestamp": "1970-01-01T00:00:00+00:00", "data": {}}


def whsec(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


keys = st.binary(min_size=24, max_size=64)


@settings(deadline=None)
@given(keys, st.uuids().map(str), st.text(alphabet='a.{}"\n\u00e9\u2603'))
def test_the_reference_library_verifies_the_signature(key: bytes, message_id: str, text: str) -> None:
    headers = signed_headers(whsec(key), message_id, text.encode(), timestamp_s=int(time.time()))
    Webhook(whsec(key)).verify(text, headers, json_parse=False)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "webhook-signature", "body", "key"])
def test_the_reference_library_refuses_what_was_changed(changed: str) -> None:
    key, body = bytes(32), "{}"
    headers = signed_headers(whsec(key), "id", body.encode(), timestamp_s=int(time.time()))
    if changed == "webhook-timestamp":
        headers[changed] = str(int(headers[changed]) + 1)
    elif changed == "webhook-signature":
        headers[changed] = f"v1,{base64.b64encode(bytes(32)).decode()}"
    elif changed == "webhook-id":
        headers[changed] = "other"
    elif changed == "body":
        body = "{ }"
    else:
        key = bytes(31) + b"1"
    with pytest.raises(WebhookVerificationError):
        Webhook(whsec(key)).verify(body, headers)


@settings(deadline=None)
@given(keys)
def test_padding_may_be_left_out(key: bytes) -> None:
    assert signing_key(whsec(key)) == signing_key(whsec(key).rstrip("=")) == key


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", whsec(bytes(23)), whsec(bytes(65)), base64.b64encode(bytes(32)).decode(), "whsec_" + "*" * 40, "é"],
    ids=["empty", "no key", "short", "long", "no prefix", "no base64", "no ascii"],
)
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(Problem) as caught:
        signing_key(secret)
    assert caught.value.code is Code.INVALID_REQUEST
    assert len(secret) < 7 or secret not in caught.value.detail
