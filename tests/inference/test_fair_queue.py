import asyncio

import pytest

from sightline.inference.fair_queue import FairRanks, FairSemaphore, Requester

pytestmark = pytest.mark.anyio


async def test_place_goes_to_the_caller_who_holds_fewest() -> None:
    semaphore, order = FairSemaphore(4), list[str]()
    release = asyncio.Event()

    async def run(caller: str, *, bulk: bool = False) -> None:
        async with semaphore.place(Requester(caller, bulk)):
            order.append(caller)
            await release.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(run("many"))
        await asyncio.sleep(0.01)
        assert order == ["many"] * 3  # and one place is left
        tasks.create_task(run("bulk", bulk=True))
        await asyncio.sleep(0.01)
        tasks.create_task(run("few"))
        await asyncio.sleep(0.01)
        assert order == ["many"] * 3 + ["bulk"]
        release.set()
    assert order.index("few") < 8
    assert len(order) == 22


async def test_cancelled_waiter_returns_its_place() -> None:
    semaphore = FairSemaphore(1)
    async with semaphore.place(Requester("a")):
        waiting = [asyncio.create_task(enter(semaphore)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # it has just been given the place
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[2] is None
    async with asyncio.timeout(5), semaphore.place(Requester("a")):
        pass


async def enter(semaphore: FairSemaphore) -> None:
    async with semaphore.place(Requester("b")):
        pass


async def test_bulk_request_is_not_kept_out_for_ever() -> None:
    semaphore, order = FairSemaphore(1), list[str]()

    async def run(name: str, *, bulk: bool = False) -> None:
        async with semaphore.place(Requester(name, bulk)):
            order.append(name)

    async with semaphore.place(Requester("first")):
        tasks = [asyncio.create_task(run("bulk", bulk=True))]
        tasks += [asyncio.create_task(run("interactive")) for _ in range(9)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert 2 <= order.index("bulk") <= 5


def test_ranks_spread_samples_of_one_caller_among_others() -> None:
    ranks = FairRanks()
    many = [ranks.take(Requester("many")) for _ in range(100)]
    ranks.reach(many[0])
    few = [ranks.take(Requester("few")) for _ in range(3)]
    bulk = [ranks.take(Requester("bulk", bulk=True)) for _ in range(3)]
    assert [sum(rank < other for rank in many) for other in few] == [0, 1, 2]
    assert [sum(rank < other for rank in many) for other in bulk] == [3, 7, 11]
    for rank in many:
        ranks.reach(rank)
    assert ranks.take(Requester("late")) >= many[-1]
