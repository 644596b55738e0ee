"""`sightline jobs` on a real Redis."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner, Result

from sightline.api.problems import Code, Problem
from sightline.cli.app import build_app
from sightline.cli.state_folder import redis_url_file
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.connection import connect
from sightline.jobs.job import BlobRef, Job, JobReason, JobState, Priority, StoredRequest, Submission, Webhook
from sightline.jobs.leases import Leases
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import Delivery, DeliveryQueue, DeliveryStatus

T = TypeVar("T")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DETAILS = Problem(Code.INTERNAL, "The service failed on this request.").details("request").model_dump(mode="json")


class Office:
    """A queue, with jobs in it that a test put there."""

    def __init__(self, url: str) -> None:
        self.url, self.settings = url, JobSettings(redis_url=url, max_attempts=1)

    def queue(self, job_id: str, *, model: str = "inpaint", owner: str = "public") -> None:
        self._do(lambda redis: self._submit(redis, job_id, model, owner))

    def kill(self, job_id: str, *, model: str = "inpaint") -> None:
        """Queue a job and let its one attempt fail."""
        self.queue(job_id, model=model)
        self._do(lambda redis: self._fail(redis, model))

    def job(self, job_id: str) -> Job:
        return self._do(lambda redis: JobQueue(redis, self.settings).get(job_id))

    def give_up(self, job_id: str) -> None:
        """As if the webhook's receiver had answered 500 for hours."""
        self._do(lambda redis: self._give_up(redis, job_id))

    def resolved_identity(self, identity: str | None) -> str | None:
        return self._do(lambda redis: BlobReferences(redis, self.settings).resolve_identity(identity))

    async def _give_up(self, redis: Redis, job_id: str) -> None:
        delivery_queue = DeliveryQueue(redis, self.settings)
        await delivery_queue.route(job_id, "https://example.org")
        (lease,) = await delivery_queue.take("https://example.org", limit=1, lease_s=60)
        delivery = Delivery("message", DeliveryStatus.GIVEN_UP, 7, 1000.0, 500)
        assert await delivery_queue.settle(lease, delivery, retry_in_s=None, ttl_s=60)

    async def _submit(self, redis: Redis, job_id: str, model: str, owner: str) -> None:
        body = BlobRef("ab" * 32, 10)
        await BlobReferences(redis, self.settings).reserve(body, job_id=job_id)
        request = StoredRequest(f"/v1/{model}", "", "image/png", None, body)
        webhook = Webhook("https://example.org/hook", SECRET)
        submission = Submission(
            job_id, model, owner, Priority.BULK, JobReason.ASKED, request, "request", "cd" * 32, webhook=webhook
        )
        await JobQueue(redis, self.settings).submit(submission)

    async def _fail(self, redis: Redis, model: str) -> None:
        leases = Leases(redis, self.settings)
        lease = await leases.take(model, worker="worker")
        assert lease is not None
        assert await leases.fail(lease, DETAILS, transient=True)

    def _do(self, work: Callable[[Redis], Awaitable[T]]) -> T:
        async def run() -> T:
            async with connect(self.url) as redis:
                return await work(redis)

        return asyncio.run(run())


@pytest.fixture
def office(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setenv("COLUMNS", "200")
    return Office(redis_url)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build_app("jobs"), ["jobs", *arguments])


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def facts(*arguments: str) -> Any:
    return json.loads(said(*arguments, "--json"))


def test_lists_the_jobs_of_an_owner_the_newest_first(office: Office) -> None:
    for job_id, owner in {"first": "public", "second": "public", "other": "somebody"}.items():
        office.queue(job_id, owner=owner)
    assert [job["id"] for job in facts("list", "--redis", office.url)] == ["second", "first"]
    assert [job["id"] for job in facts("list", "--redis", office.url, "--limit", "1")] == ["second"]
    assert [job["id"] for job in facts("list", "--redis", office.url, "--owner", "somebody")] == ["other"]
    assert facts("list", "--redis", office.url, "--status", "running") == []
    assert facts("list", "--redis", office.url, "--model", "hoi") == []
    assert said("list", "--redis", office.url).splitlines()[1].split()[:4] == ["second", "inpaint", "bulk", "queued"]


def test_shows_a_job_and_where_it_stands_but_no_secret(office: Office) -> None:
    office.queue("first")
    office.queue("second")
    shown = facts("show", "second", "--redis", office.url)
    assert (shown["state"], shown["position"], shown["webhook"]) == ("queued", 2, "https://example.org/hook")
    text = said("show", "second", "--redis", office.url)
    assert "https://example.org/hook" in text
    assert SECRET not in text + json.dumps(shown)


def test_queue_statistics_count_waiting_jobs(office: Office) -> None:
    office.queue("waiting")
    office.kill("dead", model="hoi")
    lines = {(line["model"], line["priority"]): line for line in facts("queues", "--redis", office.url)}
    assert lines["inpaint", "bulk"]["waiting"] == 1
    assert lines["hoi", "bulk"]["dead"] == 1
    assert lines["hoi", "interactive"]["dead"] == 0
    assert "inpaint" in said("queues", "--redis", office.url)


def test_a_model_may_be_spelled_as_in_urls(office: Office) -> None:
    office.kill("one", model="hdr_correct")
    for model in ("hdr-correct", "hdr_correct"):
        assert [job["id"] for job in facts("dead", "--redis", office.url, "--model", model)] == ["one"]
        assert [job["id"] for job in facts("list", "--redis", office.url, "--model", model)] == ["one"]
    assert "one is gone" in said("purge", "--dead", "hdr-correct", "--redis", office.url)
    office.kill("two", model="hdr_correct")
    assert "two is queued again" in said("retry", "--all", "hdr-correct", "--redis", office.url)


def test_dead_jobs_are_listed_with_the_reason(office: Office) -> None:
    office.kill("one")
    office.kill("two", model="hoi")
    assert [job["id"] for job in facts("dead", "--redis", office.url)] == ["two", "one"]
    assert [job["id"] for job in facts("dead", "--redis", office.url, "--model", "inpaint")] == ["one"]
    assert DETAILS["detail"] in said("dead", "--redis", office.url)


def test_dead_jobs_are_queued_again_one_by_one_or_all(office: Office) -> None:
    for job_id in ("one", "two", "three"):
        office.kill(job_id)
    assert said("retry", "two", "--redis", office.url) == "two is queued again.\n"
    assert [office.job(job_id).state for job_id in ("one", "two")] == [JobState.DEAD, JobState.QUEUED]
    assert said("retry", "--all", "inpaint", "--redis", office.url).splitlines() == [
        "one is queued again.",
        "three is queued again.",
    ]
    assert facts("dead", "--redis", office.url) == []


def test_given_up_webhooks_are_listed_and_resent(office: Office) -> None:
    for job_id in ("one", "two"):
        office.kill(job_id)
        office.give_up(job_id)
    (two, one) = facts("webhooks", "--redis", office.url)
    assert (two["id"], one["id"], one["delivery"]["status"]) == ("two", "one", 500)
    assert "answered 500" in said("webhooks", "--redis", office.url)
    (shown,) = [facts("show", "one", "--redis", office.url)]
    assert shown["delivery"]["fate"] == "given_up"
    assert said("resend", "one", "--redis", office.url) == "one is reported again.\n"
    assert said("resend", "--all", "--redis", office.url) == "two is reported again.\n"
    assert facts("webhooks", "--redis", office.url) == []
    assert run("resend", "--redis", office.url).exit_code == 2


def test_a_store_that_is_gone_for_good_can_be_given_up(office: Office) -> None:
    office.queue("job")
    assert office.resolved_identity("old") == "old"
    assert office.resolved_identity(None) is None
    said("forget-store", "--redis", office.url)
    assert office.resolved_identity("new") == "new"


def test_purged_jobs_are_gone(office: Office) -> None:
    office.kill("dead")
    office.queue("live")
    said("purge", "live", "--redis", office.url)
    said("purge", "--dead", "inpaint", "--redis", office.url)
    assert facts("list", "--redis", office.url) == []


@pytest.mark.parametrize("action", ["retry", "purge"])
def test_jobs_or_a_model_must_be_named(office: Office, action: str) -> None:
    assert run(action, "--redis", office.url).exit_code == 2


@pytest.mark.parametrize("action", ["show", "retry", "purge"])
def test_unknown_job_is_reported(office: Office, action: str) -> None:
    result = run(action, "nobody", "--redis", office.url)
    assert isinstance(result.exception, Problem)
    assert result.exception.code is Code.NOT_FOUND


def test_redis_is_that_of_the_fleet_that_runs_here(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.queue("job")
    with redis_url_file(tmp_path, office.url):
        assert [job["id"] for job in facts("list", "--state", str(tmp_path))] == ["job"]
    assert "no fleet is running" in str(run("list", "--state", str(tmp_path)).exception)
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", office.url)
    assert [job["id"] for job in facts("list", "--state", str(tmp_path))] == ["job"]


@pytest.mark.parametrize(
    ("url", "sentence"), [("http://localhost", "redis_url"), ("unix:///nowhere/redis.sock", "cannot be reached")]
)
def test_server_that_is_not_redis_is_reported_in_a_sentence(url: str, sentence: str) -> None:
    assert sentence in str(run("list", "--redis", url).exception)
