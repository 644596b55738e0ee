"""Any order of events on the queue, beside the same on a plain model of it: both must agree on everything."""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from sightline.api.problems import Code, Problem
from sightline.jobs.connection import connect
from sightline.jobs.job import JobState, Lease, Priority, StageProgress
from sightline.jobs.leases import MustRunAloneError
from sightline.jobs.settings import JobSettings
from tests.jobs.conftest import LEASE_S, MODEL, PROBLEM, WEIGHTS, WORKER, Bench, blob, outcome, submission
from tests.jobs.reference_model import Entry, Reference
from tests.redis_server import RedisServer

T = TypeVar("T")
PREFIX = "sightline:"
LIMITED = "bob"
CONTENTS = ("sea", "sky", "sand")
BYTES = {blob(content).sha256: blob(content).size_bytes for content in CONTENTS}
PLACES = {JobState.QUEUED: "waiting", JobState.RUNNING: "leases", JobState.RETRYING: "retrying"}
CLAIMS = (JobState.RUNNING, JobState.RETRYING)  # consumers that hold the entries of jobs in just this state
ENDED = tuple(state for state in JobState if state.terminal)

EXAMPLES = int(os.environ.get("SIGHTLINE_TEST_EXAMPLES", "8"))

Facts = dict[str, object]


def expected(model: Reference) -> Facts:
    """All that `seen` reads."""
    facts: Facts = {
        "jobs": [(job.state, job.attempts, job.results) for job in model.jobs.values()],
        "ends": [(job.ends, job.state) for job in model.jobs.values()],
        "expiring": {job.id for job in model.of(*ENDED)},
        "references": model.references(),
        "garbage": model.garbage,
        "stored": {*model.references(), *model.garbage},
        "bytes": sum(BYTES[sha256] for sha256 in {*model.references(), *model.garbage}),
    }
    for priority in Priority:
        jobs = [job for job in model.jobs.values() if job.priority is priority]
        for state, place in PLACES.items():
            facts[f"{place} {priority}"] = {job.id for job in jobs if job.state is state}
        facts[f"queue {priority}"] = [job.id for job in model.of(*PLACES) if job.priority is priority]
        facts[f"dead {priority}"] = {job.id for job in jobs if job.state is JobState.DEAD and job.blobs}
        facts[f"claims {priority}"] = [sum(job.state is state for job in jobs) for state in CLAIMS]
    return facts


async def seen(bench: Bench, job_ids: list[str]) -> Facts:
    redis: Any = bench.redis  # its types know neither strings from bytes nor replies from None
    facts = Facts()
    jobs = [await bench.queue.get(job_id) for job_id in job_ids]
    facts["jobs"] = [(job.state, job.attempts, job.results[0].blob.sha256 if job.results else None) for job in jobs]
    facts["ends"] = [await endings(bench, job_id) for job_id in job_ids]
    facts["expiring"] = set(await redis.zrange(f"{PREFIX}expiring", 0, -1))
    facts["garbage"] = set(await redis.zrange(f"{PREFIX}garbage", 0, -1))
    facts["references"] = {sha256: ids for sha256 in BYTES if (ids := await redis.smembers(f"{PREFIX}refs:{sha256}"))}
    facts["stored"] = set(await redis.hkeys(f"{PREFIX}sizes"))
    facts["bytes"] = int(await redis.get(f"{PREFIX}stored_bytes") or 0)
    for priority in Priority:
        for place in PLACES.values():
            facts[f"{place} {priority}"] = set(await redis.zrange(f"{PREFIX}{place}:{MODEL}:{priority}", 0, -1))
        queue = f"{PREFIX}queue:{MODEL}:{priority}"
        facts[f"queue {priority}"] = [fields["id"] for _, fields in await redis.xrange(queue)]
        letters = await redis.xrange(f"{PREFIX}dead:{MODEL}:{priority}")
        facts[f"dead {priority}"] = {fields["id"] for _, fields in letters}
        consumers = await redis.xinfo_consumers(queue, "workers") if await redis.exists(queue) else []
        pending = {consumer["name"]: consumer["pending"] for consumer in consumers}
        facts[f"claims {priority}"] = [pending.get(state, 0) for state in CLAIMS]
    return facts


async def endings(bench: Bench, job_id: str) -> tuple[int, str]:
    """How many ends were told of a job, and the state told last."""
    redis: Any = bench.redis
    entries = await redis.xrange(f"{PREFIX}events:{job_id}")
    states = [JobState(fields["event"]) for _, fields in entries if fields["event"] != "progress"]
    return sum(state.terminal for state in states), states[-1]


class QueueBesideItsModel(RuleBasedStateMachine):
    server: RedisServer
    jobs = Bundle("jobs")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        settings = JobSettings(
            redis_url=self.server.url, max_attempts=3, max_lost_leases=2, bulk_share=2, lease_s=LEASE_S
        )
        self.bench = Bench(connect(self.server.url), settings)
        self.model = Reference(max_attempts=3, max_lost_leases=2, bulk_share=2, limits={LIMITED: 1})
        self.submitted = 0
        with self.server.client() as client:
            client.flushall()
        self.run(self.bench.queue.set_owner_limit(LIMITED, max_running=1))

    def run(self, doing: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(doing)

    def teardown(self) -> None:
        self.run(self.bench.redis.aclose())
        self.runner.close()

    @rule(
        target=jobs,
        owner=st.sampled_from(["ada", "eve", LIMITED]),
        priority=st.sampled_from(Priority),
        content=st.sampled_from(CONTENTS),
        key=st.sampled_from([None, None, "k"]),
        cached=st.booleans(),
    )
    def submit(self, owner: str, priority: Priority, content: str, key: str | None, cached: bool) -> Any:
        self.submitted += 1
        wanted = submission(f"j{self.submitted}", owner=owner, priority=priority, content=content, idempotency_key=key)
        sha256 = wanted.request.body.sha256
        entry = Entry(wanted.id, owner, priority, sha256, sha256, key, place=0)
        expected = self.model.submit(entry, cached=cached)
        submitting = self.bench.queue.submit(wanted, model_sha256=WEIGHTS if cached else None)
        if expected is None:
            assert self.refusal(submitting) is Code.KEY_REUSED
            return multiple()
        job = self.run(submitting)
        assert (job.id, job.state) == (expected.id, expected.state)
        assert (job.cached_from is not None) == (
            expected is entry and expected.state is JobState.SUCCEEDED
        ) or job.id != wanted.id
        return job.id

    @rule(target=leases, busy=st.booleans())
    def take(self, busy: bool) -> Any:
        lease = None
        with suppress(MustRunAloneError):
            lease = self.run(self.bench.leases.take(MODEL, worker=WORKER, busy=busy))
        expected = self.model.take(lease.token if lease else "", busy=busy)
        assert (lease and lease.job.id) == (expected and expected.id)
        return lease if lease else multiple()

    @rule(lease=leases, content=st.sampled_from(CONTENTS))
    def finish(self, lease: Lease, content: str) -> None:
        job, over = self.model.held(lease.job.id, lease.token)
        assert self.run(self.bench.leases.finish(lease, outcome(content))) == (job is not None)
        if job and not over:
            self.model.finish(job, blob(content).sha256)

    @rule(lease=leases, transient=st.booleans())
    def fail(self, lease: Lease, transient: bool) -> None:
        job, over = self.model.held(lease.job.id, lease.token)
        assert self.run(self.bench.leases.fail(lease, PROBLEM, transient=transient)) == (job is not None)
        if job and not over:
            self.model.fail(job, transient=transient)

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        job, over = self.model.held(lease.job.id, lease.token)
        assert self.run(self.bench.leases.release(lease)) == (job is not None)
        if job and not over:
            self.model.release(job)

    @rule(lease=leases)
    def report(self, lease: Lease) -> None:
        job, over = self.model.held(lease.job.id, lease.token)
        assert self.run(self.bench.leases.report_progress(lease, StageProgress("infer", 0.5))) == (
            job is not None and not over
        )

    @rule()
    def lose_all_leases(self) -> None:
        running = self.model.of(JobState.RUNNING)
        assert self.run(self.bench.let_leases_run_out()) == len(running)
        for job in sorted(running, key=lambda job: job.id):
            self.model.lose(job)

    @rule()
    def reach_all_retries(self) -> None:
        for priority in Priority:
            self.run(self.bench.let_come(f"retrying:{MODEL}:{priority}"))
        assert self.run(self.bench.maintenance.recover(MODEL)) == 0
        for job in sorted(self.model.of(JobState.RETRYING), key=lambda job: job.id):
            self.model.queue(job)

    @rule(job_id=jobs)
    def cancel(self, job_id: str) -> None:
        if (expected := self.model.jobs.get(job_id)) is None:
            assert self.refusal(self.bench.queue.cancel(job_id)) is Code.NOT_FOUND
            return
        self.model.cancel(expected)
        assert self.run(self.bench.queue.cancel(job_id)).state is expected.state

    @rule(job_id=jobs)
    def retry(self, job_id: str) -> None:
        job = self.model.jobs.get(job_id)
        retrying = self.bench.dead_letters.retry(job_id)
        if job is None:
            assert self.refusal(retrying) is Code.NOT_FOUND
        elif not job.state.terminal:
            assert self.run(retrying).state is job.state
        elif job.state not in (JobState.DEAD, JobState.FAILED):
            assert self.refusal(retrying) is Code.INVALID_REQUEST
        elif not job.blobs:
            assert self.refusal(retrying) is Code.GONE
        else:
            assert self.run(retrying).state is JobState.QUEUED
            self.model.retry(job)

    @rule()
    def expire(self) -> None:
        self.run(self.bench.let_come("expiring"))
        ended = self.model.of(*ENDED)
        assert self.run(self.bench.maintenance.expire(limit=1000)) == len(ended)
        for job in ended:
            self.model.expire(job)

    @rule(job_id=consumes(jobs))
    def purge(self, job_id: str) -> None:
        purging = self.bench.dead_letters.purge(job_id)
        if (job := self.model.jobs.get(job_id)) is None:
            assert self.refusal(purging) is Code.NOT_FOUND
        else:
            self.run(purging)
            self.model.purge(job)

    @rule()
    def collect(self) -> None:
        found = self.run(self.bench.references.mark_garbage(limit=1000, grace_s=0))
        assert set(found) == self.model.garbage
        for sha256 in found:
            self.run(self.bench.references.forget_blob(sha256))
        self.model.garbage.clear()

    def refusal(self, doing: Coroutine[Any, Any, object]) -> Code:
        with pytest.raises(Problem) as raised:
            self.run(doing)
        return raised.value.code

    @invariant()
    def both_agree(self) -> None:
        assert self.run(seen(self.bench, list(self.model.jobs))) == expected(self.model)

    @invariant()
    def positions_are_exact(self) -> None:
        for position, expected in enumerate(self.model.order(), start=1):
            job = self.run(self.bench.queue.get(expected.id))
            assert self.run(self.bench.queue.position_of(job)).position == position


def test_queue_behaves_like_its_reference_model(any_redis: RedisServer) -> None:
    machine = type("Machine", (QueueBesideItsModel,), {"server": any_redis})
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=EXAMPLES, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
