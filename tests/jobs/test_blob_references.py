from typing import Any

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import BlobRef
from tests.jobs.conftest import OWNER, Bench, OpenBench, blob, outcome, submission

pytestmark = pytest.mark.anyio


async def refusal(bench: Bench, needed: BlobRef, job_id: str, *, caller: str = OWNER) -> Code:
    with pytest.raises(Problem) as raised:
        await bench.references.reserve(needed, job_id=job_id, caller=caller)
    return raised.value.code


async def test_garbage_waits_for_its_grace(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")

    assert await bench.references.mark_garbage(limit=10) == []
    assert await bench.references.mark_garbage(limit=10, grace_s=0) == [blob("picture").sha256]


async def test_bytes_that_are_needed_again_are_no_garbage(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")

    await bench.references.reserve(blob("picture"), job_id="two")

    assert await bench.references.mark_garbage(limit=10, grace_s=0) == []


async def test_bytes_cannot_be_reserved_while_they_are_deleted(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")
    await bench.references.mark_garbage(limit=10, grace_s=0)

    assert await refusal(bench, blob("picture"), "two") is Code.STORAGE_UNAVAILABLE
    with pytest.raises(Problem, match="no space"):
        await bench.queue.submit(submission("two", content="picture"))
    await bench.references.forget_blob(blob("picture").sha256)
    await bench.references.reserve(blob("picture"), job_id="two")
    await bench.queue.submit(submission("two", content="picture"))


async def test_a_collector_that_died_leaves_its_garbage_to_the_next(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture"))
    await bench.queue.cancel("one")
    marked = await bench.references.mark_garbage(limit=10, grace_s=0)

    assert await bench.references.mark_garbage(limit=10, grace_s=0) == []
    assert await bench.redis.zscore("sightline:deleting", marked[0]) is not None
    await bench.let_come("garbage")
    assert await bench.references.mark_garbage(limit=10, grace_s=0) == marked


async def test_a_full_store_takes_uploads_no_more_but_results(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=5)
    await bench.references.reserve(blob("four"), job_id="one")
    assert await refusal(bench, blob("more"), "two") is Code.STORAGE_UNAVAILABLE

    await bench.queue.submit(submission("one", content="four"))
    lease = await bench.take()
    await bench.references.reserve(outcome().results[0].blob, job_id="one")
    await bench.leases.finish(lease, outcome())

    assert await bench.redis.get("sightline:stored_bytes") == str(len("four") + len("result"))
    await bench.references.mark_garbage(limit=10, grace_s=0)
    await bench.references.forget_blob(blob("four").sha256)
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

    garbage = set(await bench.references.mark_garbage(limit=10, grace_s=0))
    assert garbage == {blob("picture").sha256, blob("left behind").sha256}


async def test_full_store_does_not_reveal_who_stores_the_bytes(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=20)
    await bench.references.reserve(blob("ten bytes!"), job_id="theirs", caller="them")
    for size, caller in ((6, "us"), (6, "others")):
        await bench.references.reserve_space(size, job_id=f"{caller}'s", caller=caller, ttl_s=60)
        await bench.queue.abandon(f"{caller}'s", owner=caller)
    for content in ("ten bytes!", "ten others"):
        await bench.references.reserve(blob(content), job_id=content, caller="us")
        assert await refusal(bench, blob("x"), "more", caller="others") is Code.STORAGE_UNAVAILABLE
        await bench.queue.abandon(content, owner="us")
        await bench.let_come("lingering")
        await bench.maintenance.expire()


async def test_a_caller_is_charged_once_for_the_same_bytes(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=100)
    for number in range(3):
        await bench.references.reserve(blob("ten bytes!"), job_id=f"upload {number}", caller=OWNER)
        await bench.queue.submit(submission(f"job {number}", content="ten bytes!"))
    for number in range(3):
        await bench.queue.abandon(f"upload {number}", owner=OWNER)
    assert await charges(bench) == {OWNER: 10}

    for number in range(3):
        await bench.queue.cancel(f"job {number}")
    assert await charges(bench) == {OWNER: 10}
    await bench.let_come("lingering")
    await bench.maintenance.expire()
    assert await charges(bench) == {}


async def test_bytes_that_are_needed_again_are_charged_once(bench: Bench) -> None:
    for _ in range(3):
        await bench.references.reserve(blob("ten bytes!"), job_id="upload", caller=OWNER)
        await bench.queue.abandon("upload", owner=OWNER)
    assert await charges(bench) == {OWNER: 10}
    await bench.let_come("lingering")
    await bench.maintenance.expire()
    assert await charges(bench) == {}


async def test_results_are_charged_to_the_caller_of_their_job(bench: Bench) -> None:
    await bench.queue.submit(submission("one", content="picture", caller="one of many"))
    lease = await bench.take()
    await bench.references.reserve(outcome().results[0].blob, job_id="one")
    assert await charges(bench) == {"one of many": len("picture") + len("result")}
    await bench.leases.finish(lease, outcome())
    await bench.let_come("lingering")
    await bench.maintenance.expire()
    assert await charges(bench) == {"one of many": len("result")}


async def test_space_is_reserved_before_anything_is_written(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=100)
    for number in range(3):
        await bench.references.reserve_space(20, job_id=f"upload {number}", caller=f"caller {number}", ttl_s=60)
    with pytest.raises(Problem) as refused:
        await bench.references.reserve_space(41, job_id="upload 3", caller="caller 3", ttl_s=60)
    assert refused.value.code is Code.STORAGE_UNAVAILABLE

    await bench.references.reserve_space(30, job_id="upload 0", caller="caller 0", ttl_s=60)
    await bench.references.reserve(blob("ten bytes!"), job_id="upload 1", caller="caller 1")
    await bench.queue.abandon("upload 2", owner="public")
    assert await charges(bench) == {"caller 0": 30, "caller 1": 10}
    await bench.let_come("reserved")
    await bench.maintenance.expire()
    await bench.let_come("lingering")
    await bench.maintenance.expire()
    assert await charges(bench) == {}


async def test_one_caller_cannot_fill_the_store(open_bench: OpenBench) -> None:
    bench = open_bench(max_stored_bytes=100)
    for number in range(7):
        await bench.references.reserve_space(10, job_id=f"many {number}", caller="many", ttl_s=60)
    assert await refusal(bench, blob("ten bytes!"), "many 8", caller="many") is Code.TOO_MANY_REQUESTS
    await bench.references.reserve(blob("ten bytes!"), job_id="few", caller="few")


async def charges(bench: Bench) -> dict[str, int]:
    redis: Any = bench.redis  # its types know neither strings from bytes nor replies from None
    found = {str(caller): int(size_bytes) for caller, size_bytes in (await redis.hgetall("sightline:charged")).items()}
    assert int(await redis.get("sightline:charged_bytes") or 0) == sum(found.values())
    return found
