from typing import NamedTuple, cast

import redis.asyncio

from sightline.jobs.connection import BLOCK_S, reachable

START = "0-0"

Raw = tuple[str, dict[str, str]]


class Entry(NamedTuple):
    id: str
    fields: dict[str, str]


async def read(redis: redis.asyncio.Redis, stream: str, *, after: str, wait_s: float = BLOCK_S) -> list[Entry]:
    """What came after an entry; waits for something up to `wait_s`, but no longer than `BLOCK_S`."""
    block_ms = max(1, int(min(wait_s, BLOCK_S) * 1000))  # 0 would be for ever
    async with reachable():
        reply = await redis.xread({stream: after}, block=block_ms)
    return [Entry(*entry) for _, entries in cast(list[tuple[str, list[Raw]]], reply) for entry in entries]


async def newest(redis: redis.asyncio.Redis, stream: str) -> str:
    """The id of its last entry, or what is before all."""
    async with reachable():
        entries = await redis.xrevrange(stream, count=1)
    return cast(list[Raw], entries)[0][0] if entries else START
