import asyncio

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import JobState, Priority, StageProgress, Webhook
from sightline.jobs.queue import QueuePosition
from tests.jobs.conftest import MODEL, OWNER, PROBLEM, WEIGHTS, WORKER, Bench, OpenBench, outcome, submission

pytestmark = pytest.mark.anyio


async def test_a_job_comes_back_as_it_was_submitted(bench: Bench) -> None:
    webhook = Webhook("https://example.org/hook", "whsec_c2VjcmV0")
    wanted = submission("one", webhook=webhook, idempotency_key="k")

    job = await bench.queue.submit(wanted)

    assert (job.id, job.model, job.owner, job.priority) == ("one", MODEL, OWNER, Priority.INTERACTIVE)
    assert (job.request, job.webhook, job.request_id) == (wanted.request, webhook, "request-of-one")
    assert (job.state, job.attempts, job.results) == (JobState.QUEUED, 0, ())
    assert job == await bench.queue.get("one", owner=OWNER)


async def test_a_submission_repeated_is_one_job(bench: Bench) -> None:
    first = await bench.queue.submit(submission("one"))

    assert await bench.queue.submit(submission("one")) == first
    assert (await bench.inspector.model_load(MODEL)).waiting == 1


async def test_another_owner_sees_no_job(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))

    for attempt in (
        bench.queue.get("one", owner="eve"),
        bench.queue.cancel("one", owner="eve"),
        bench.queue.get("two"),
    ):
        with pytest.raises(Problem) as raised:
            await attempt
        assert raised.value.code is Code.NOT_FOUND
    assert (await bench.queue.get("one")).state is JobState.QUEUED


async def test_a_key_joins_the_same_request_and_refuses_another(bench: Bench) -> None:
    first = await bench.queue.submit(submission(content="picture", idempotency_key="k"))

    joined = await bench.queue.submit(submission(content="picture", idempotency_key="k"))
    strange = await bench.queue.submit(submission(content="other", idempotency_key="k", owner="eve"))
    with pytest.raises(Problem) as raised:
        await bench.queue.submit(submission(content="other", idempotency_key="k"))

    assert joined == first
    assert strange.id != first.id
    assert (raised.value.code, raised.value.facts) == (Code.KEY_REUSED, {"job": first.id})


async def test_a_key_is_held_while_an_upload_comes_in(bench: Bench) -> None:
    async def hold(job_id: str) -> str | None:
        return await bench.queue.reserve_key(OWNER, "k", job_id=job_id, ttl_s=60)

    assert await hold("one") is None
    assert await hold("one") is None
    for attempt in (hold("two"), bench.queue.submit(submission("two", idempotency_key="k"))):
        with pytest.raises(Problem) as raised:
            await attempt
        assert raised.value.code is Code.KEY_IN_USE

    await bench.queue.submit(submission("one", idempotency_key="k"))
    assert await hold("two") == "one"
    assert await hold("one") == "one"
    assert await bench.redis.ttl("sightline:key:ada:13fbd79c3d390e5d6585a21e11ff5ec1970cff0c") == -1


async def test_an_abandoned_upload_frees_its_key_and_blob(bench: Bench) -> None:
    wanted = submission("one", idempotency_key="k")
    await bench.queue.reserve_key(OWNER, "k", job_id="one", ttl_s=60)
    await bench.references.reserve(wanted.request.body, job_id="one")

    await bench.queue.abandon("one", owner=OWNER, key="k")

    assert await bench.queue.reserve_key(OWNER, "k", job_id="two", ttl_s=60) is None
    assert await bench.references.mark_garbage(limit=10, grace_s=0) == [wanted.request.body.sha256]


async def test_upload_that_became_a_job_cannot_be_abandoned(bench: Bench) -> None:
    await bench.queue.submit(submission("one", idempotency_key="k"))

    await bench.queue.abandon("one", owner=OWNER, key="k")

    assert await bench.queue.reserve_key(OWNER, "k", job_id="two", ttl_s=60) == "one"
    assert await bench.references.mark_garbage(limit=10, grace_s=0) == []


async def test_identical_work_is_answered_by_the_earlier_result(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.leases.finish(await bench.take(), outcome())

    hit = await bench.queue.submit(submission("two", content="picture"), model_sha256=WEIGHTS)

    assert (hit.state, hit.cached_from, hit.results) == (JobState.SUCCEEDED, "one", outcome().results)
    assert await bench.leases.take(MODEL, worker=WORKER) is None
    assert [event.name async for event in bench.queue.events("two") if event] == ["succeeded"]


@pytest.mark.parametrize(
    "change", [{"content": "other"}, {"owner": "eve"}, {"fingerprint": "other"}], ids=["bytes", "owner", "parameters"]
)
async def test_other_work_is_done_anew(bench: Bench, change: dict[str, str]) -> None:
    await bench.queue.submit(submission(content="picture"))
    await bench.leases.finish(await bench.take(), outcome())

    again = await bench.queue.submit(submission(**{"content": "picture", **change}), model_sha256=WEIGHTS)  # type: ignore[arg-type]

    assert again.state is JobState.QUEUED


async def test_other_weights_do_the_work_anew(bench: Bench) -> None:
    await bench.queue.submit(submission(content="picture"))
    await bench.leases.finish(await bench.take(), outcome())

    assert (await bench.queue.submit(submission(content="picture"), model_sha256="v" * 64)).state is JobState.QUEUED


async def test_a_deleted_result_answers_no_more(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.leases.finish(await bench.take(), outcome())
    await bench.queue.cancel("one")

    again = await bench.queue.submit(submission(content="picture"), model_sha256=WEIGHTS)

    assert again.state is JobState.QUEUED


async def test_a_result_that_two_jobs_share_outlives_the_first(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.leases.finish(await bench.take(), outcome())
    await bench.queue.submit(submission("two", content="picture"), model_sha256=WEIGHTS)
    result = outcome().results[0].blob.sha256

    await bench.queue.cancel("one")
    assert result not in await bench.references.mark_garbage(limit=10, grace_s=0)
    await bench.queue.cancel("two")
    assert result in await bench.references.mark_garbage(limit=10, grace_s=0)


async def test_model_with_a_full_queue_refuses_jobs(open_bench: OpenBench) -> None:
    bench = open_bench(max_queued_per_model=1)
    await bench.queue.submit(submission("one"))

    with pytest.raises(Problem) as raised:
        await bench.queue.submit(submission("two"))

    assert raised.value.code is Code.OVERLOADED
    assert raised.value.retry_after_s is not None
    with pytest.raises(Problem, match="no such job"):
        await bench.queue.get("two")


async def test_bytes_beyond_the_bound_are_refused(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=10)
    await bench.queue.submit(submission(content="12345678"))

    await bench.queue.submit(submission(content="12345678"))
    with pytest.raises(Problem) as raised:
        await bench.queue.submit(submission(content="more"))

    assert raised.value.code is Code.STORAGE_UNAVAILABLE


async def test_pages_lead_through_all_jobs_of_an_owner_newest_first(bench: Bench) -> None:
    for name in "abcde":
        await bench.queue.submit(submission(name))
    await bench.queue.submit(submission("eves", owner="eve"))

    first = await bench.queue.page(OWNER, limit=2)
    second = await bench.queue.page(OWNER, limit=2, after=first.next)
    third = await bench.queue.page(OWNER, limit=2, after=second.next)

    assert [[job.id for job in page.jobs] for page in (first, second, third)] == [["e", "d"], ["c", "b"], ["a"]]
    assert third.next is None


async def test_pages_can_be_of_one_state_or_model(bench: Bench) -> None:
    for name in "abc":
        await bench.queue.submit(submission(name))
    await bench.take()

    running = await bench.queue.page(OWNER, limit=2, state=JobState.RUNNING)
    others = await bench.queue.page(OWNER, limit=2, model="hoi")

    assert [job.id for job in running.jobs] == ["a"]
    assert others.jobs == ()


async def test_positions_follow_the_turns(open_bench: OpenBench) -> None:
    bench = open_bench(bulk_share=2)
    for name in ("b1", "b2"):
        await bench.queue.submit(submission(name, priority=Priority.BULK))
    jobs = [await bench.queue.submit(submission(f"i{n}")) for n in range(1, 4)]
    jobs += [await bench.queue.get(name) for name in ("b1", "b2")]

    positions = {job.id: (await bench.queue.position_of(job)).position for job in jobs}
    taken = [(await bench.take()).job.id for _ in jobs]

    assert taken == ["i1", "i2", "b1", "i3", "b2"]
    assert [positions[name] for name in taken] == [1, 2, 3, 4, 5]


async def test_an_eta_needs_a_measured_run_and_a_worker(bench: Bench) -> None:
    job = await bench.queue.submit(submission("one"))
    assert await bench.queue.position_of(job) == QueuePosition(1, None)

    await bench.redis.hset("sightline:stats:inpaint", "run_s", "10")
    assert await bench.queue.position_of(job) == QueuePosition(1, None)

    await bench.leases.heartbeat(MODEL, worker=WORKER, slots=2)
    assert await bench.queue.position_of(job) == QueuePosition(1, 10.0)

    third = [await bench.queue.submit(submission()) for _ in range(2)][-1]
    assert await bench.queue.position_of(third) == QueuePosition(3, 20.0)

    await bench.leases.retire(MODEL, worker=WORKER)
    assert await bench.queue.position_of(job) == QueuePosition(1, None)


async def test_the_eta_of_a_running_job_shrinks_to_none(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    job = (await bench.take()).job
    assert await bench.queue.position_of(job) == QueuePosition()

    await bench.redis.hset("sightline:stats:inpaint", "run_s", "1e-9")
    assert await bench.queue.position_of(job) == QueuePosition(None, 0.0)

    await bench.queue.cancel("one")
    assert await bench.queue.position_of(job) == QueuePosition()


@pytest.mark.parametrize("state", list(JobState))
async def test_a_job_can_be_cancelled_in_every_state(open_bench: OpenBench, state: JobState) -> None:
    bench = open_bench(max_attempts=1 if state is JobState.DEAD else 5)
    await bench.queue.submit(submission("one", idempotency_key="k"))
    lease = None
    if state is not JobState.QUEUED:
        lease = await bench.take()
    match state, lease:
        case JobState.SUCCEEDED, lease if lease:
            await bench.leases.finish(lease, outcome())
        case JobState.FAILED, lease if lease:
            await bench.leases.fail(lease, PROBLEM, transient=False)
        case ((JobState.RETRYING | JobState.DEAD), lease) if lease:
            await bench.leases.fail(lease, PROBLEM, transient=True)
        case JobState.CANCELLED, _:
            await bench.queue.cancel("one")
    assert (await bench.queue.get("one")).state is state

    job = await bench.queue.cancel("one", owner=OWNER)

    assert job.state is (state if state.terminal else JobState.CANCELLED)
    assert job.results == ()
    assert await bench.redis.keys("sightline:refs:*") == []
    assert len(await bench.references.mark_garbage(limit=10, grace_s=0)) == (2 if state is JobState.SUCCEEDED else 1)
    assert await bench.leases.take(MODEL, worker=WORKER) is None
    assert await bench.maintenance.recover(MODEL) == 0
    assert await bench.dead_letters.list_for(MODEL) == []
    assert await bench.queue.reserve_key(OWNER, "k", job_id="two", ttl_s=60) is None
    if lease and not state.terminal:
        assert not await bench.leases.finish(lease, outcome())


async def test_waiting_ends_with_the_job(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    lease = await bench.take()
    waiting = asyncio.create_task(bench.queue.wait("one", timeout_s=60))
    await bench.leases.report_progress(lease, StageProgress("infer", 0.5))
    await bench.leases.finish(lease, outcome())

    assert (await waiting).state is JobState.SUCCEEDED


async def test_waiting_ends_with_its_time(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))

    assert (await bench.queue.wait("one", timeout_s=0.05)).state is JobState.QUEUED


async def test_an_owner_at_the_limit_holds_up_nobody(open_bench: OpenBench) -> None:
    bench = open_bench(max_running_per_owner=3)
    await bench.queue.set_owner_limit(OWNER, max_running=1)
    for name in ("a1", "a2", "a3"):
        await bench.queue.submit(submission(name))
    await bench.queue.submit(submission("eves", owner="eve"))

    first, second = await bench.take(), await bench.take()
    assert (first.job.id, second.job.id) == ("a1", "eves")
    assert await bench.leases.take(MODEL, worker=WORKER) is None

    await bench.leases.finish(first, outcome())
    assert (await bench.take()).job.id == "a2"
    await bench.queue.set_owner_limit(OWNER, max_running=None)
    assert (await bench.take()).job.id == "a3"


async def test_a_place_that_a_limit_held_is_passed_on_when_its_job_is_cancelled(bench: Bench) -> None:
    await bench.queue.set_owner_limit(OWNER, max_running=1)
    for name in ("a1", "a2", "a3"):
        await bench.queue.submit(submission(name))
    first = await bench.take()
    assert await bench.leases.take(MODEL, worker=WORKER) is None
    await bench.leases.finish(first, outcome())

    await bench.queue.cancel("a2")

    assert (await bench.take()).job.id == "a3"


async def test_a_caller_with_many_jobs_keeps_nobody_waiting(bench: Bench) -> None:
    for number in range(40):
        await bench.queue.submit(submission(f"many{number}", owner="public", caller="many"))
    for caller in ("few", "other"):
        for number in range(2):
            await bench.queue.submit(submission(f"{caller}{number}", owner="public", caller=caller))
    positions = [(await bench.queue.position_of(await bench.queue.get(f"few{number}"))).position for number in range(2)]
    assert positions == [2, 5]

    taken = [(await bench.take()).job.id for _ in range(8)]
    assert taken == ["many0", "few0", "other0", "many1", "few1", "other1", "many2", "many3"]


async def test_a_caller_whose_jobs_run_steps_back(bench: Bench) -> None:
    for name in ("many0", "many1"):
        await bench.queue.submit(submission(name, owner="many"))
        await bench.take()
    for name in ("many2", "many3", "few0", "few1"):
        await bench.queue.submit(submission(name, owner=name[:-1]))
    assert [(await bench.take()).job.id for _ in range(4)] == ["few0", "few1", "many2", "many3"]


async def test_a_caller_that_comes_again_and_again_goes_behind_one_that_waits(bench: Bench) -> None:
    for number in range(3):
        await bench.queue.submit(submission(f"many{number}", owner="many"))
    taken = []
    for number in range(3):
        await bench.queue.submit(submission(f"one{number}", owner="one"))
        for _ in range(2):
            lease = await bench.take()
            taken.append(lease.job.id)
            await bench.leases.finish(lease, outcome())
    assert taken == ["many0", "one0", "many1", "one1", "many2", "one2"]


async def test_one_caller_cannot_fill_a_queue(open_bench: OpenBench) -> None:
    bench = open_bench(max_queued_per_model=40)
    for number in range(30):
        priority = Priority.BULK if number % 2 else Priority.INTERACTIVE
        await bench.queue.submit(submission(f"many{number}", owner="many", priority=priority))
    with pytest.raises(Problem) as refused:
        await bench.queue.submit(submission("one too many", owner="many"))
    assert (refused.value.code, refused.value.status) == (Code.TOO_MANY_REQUESTS, 429)
    assert refused.value.retry_after_s
    for number in range(7):
        await bench.queue.submit(submission(f"few{number}", owner="few"))
    await bench.queue.submit(submission("another", owner="another"))


async def test_jobs_queued_by_an_earlier_version_are_taken(bench: Bench) -> None:
    for name in ("a1", "a2"):
        await bench.queue.submit(submission(name))
    prefix = bench.settings.redis_prefix
    await bench.redis.delete(f"{prefix}lane:{MODEL}:interactive:{OWNER}", f"{prefix}lanes:{MODEL}:interactive")
    await bench.queue.submit(submission("b1", owner="eve"))
    await bench.maintenance.recover(MODEL)
    assert sorted([(await bench.take()).job.id for _ in range(3)]) == ["a1", "a2", "b1"]
