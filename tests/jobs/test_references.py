import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import BlobRef
from tests.jobs.conftest import Bench, OpenBench, blob, outcome, submission

pytestmark = pytest.mark.anyio


async def refusal(bench: Bench, needed: BlobRef, job_id: str) -> Code:
    with pytest.raises(Problem) as raised:
        await bench.references.reserve(needed, job_id=job_id)
    return raised.value.code


async def test_garbage_waits_for_its_grace(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")

    assert await bench.references.collect(limit=10) == []
    assert await bench.references.collect(limit=10, grace_s=0) == [blob("picture").sha256]


async def test_bytes_that_are_needed_again_are_no_garbage(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")

    await bench.references.reserve(blob("picture"), job_id="two")

    assert await bench.references.collect(limit=10, grace_s=0) == []


async def test_bytes_cannot_be_reserved_while_they_are_deleted(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")
    await bench.references.collect(limit=10, grace_s=0)

    assert await refusal(bench, blob("picture"), "two") is Code.STORAGE_UNAVAILABLE
    with pytest.raises(Problem, match="no room"):
        await bench.queue.submit(submission("two", content="picture"))
    await bench.references.collected(blob("picture").sha256)
    await bench.references.reserve(blob("picture"), job_id="two")
    await bench.queue.submit(submission("two", content="picture"))


async def test_a_collector_that_died_leaves_its_garbage_to_the_next(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")
    marked = await bench.references.collect(limit=10, grace_s=0)

    assert await bench.references.collect(limit=10, grace_s=0) == []
    assert await bench.redis.zscore("sightline:deleting", marked[0]) is not None
    await bench.let_come("garbage")
    assert await bench.references.collect(limit=10, grace_s=0) == marked


async def test_a_full_store_takes_uploads_no_more_but_results(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=5)
    await bench.references.reserve(blob("four"), job_id="one")
    assert await refusal(bench, blob("more"), "two") is Code.STORAGE_UNAVAILABLE

    await bench.queue.submit(submission("one", content="four"))
    lease = await bench.take()
    await bench.references.reserve(outcome().results[0].blob, job_id="one")
    await bench.leases.finish(lease, outcome())

    assert await bench.redis.get("sightline:stored_bytes") == str(len("four") + len("result"))
    await bench.references.collect(limit=10, grace_s=0)
    await bench.references.collected(blob("four").sha256)
    assert await bench.redis.get("sightline:stored_bytes") == str(len("result"))


async def test_no_result_is_kept_for_a_job_that_ended(bench: Bench) -> None:
    await bench.queue.submit(submission("one"))
    await bench.queue.cancel("one")

    assert await refusal(bench, blob("result"), "one") is Code.GONE


async def test_results_that_a_lost_attempt_left_go_with_the_end(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.take()
    await bench.references.reserve(blob("left behind"), job_id="one")
    await bench.let_leases_run_out()

    await bench.leases.finish(await bench.take(), outcome())

    garbage = set(await bench.references.collect(limit=10, grace_s=0))
    assert garbage == {blob("picture").sha256, blob("left behind").sha256}
