"""Small tasks for inpainting, each with an answer of its own that can be checked."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx2
import numpy as np
from numpy.typing import NDArray

CLIENTS = 8
PHOTO = Path(__file__).parents[2] / "samples" / "photo.jpg"
SIDE_PX, HOLE = 96, slice(40, 56)


@dataclass(frozen=True, slots=True)
class Task:
    """A crop that no other task has, with a hole in its middle."""

    number: int
    crop: NDArray[np.uint8]

    @property
    def photo_png(self) -> bytes:
        return cv2.imencode(".png", self.crop)[1].tobytes()

    @property
    def mask_png(self) -> bytes:
        mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        mask[HOLE, HOLE] = 255
        return cv2.imencode(".png", mask)[1].tobytes()

    def check(self, reply: httpx2.Response) -> None:
        assert reply.status_code == 200, reply.text
        assert reply.headers["X-Sightline-Input-Sha256"] == hashlib.sha256(self.photo_png).hexdigest()
        filled = cv2.imdecode(np.frombuffer(reply.content, np.uint8), cv2.IMREAD_COLOR)
        assert filled is not None
        known = np.ones((SIDE_PX, SIDE_PX), bool)
        known[HOLE, HOLE] = False
        assert np.array_equal(filled[known], self.crop[known])
        assert not np.array_equal(filled[~known], self.crop[~known])


def make_tasks(count: int) -> list[Task]:
    photo = cv2.imread(str(PHOTO))
    assert photo is not None
    rng = np.random.default_rng(0)
    tops = rng.integers(photo.shape[0] - SIDE_PX, size=count)
    lefts = rng.integers(photo.shape[1] - SIDE_PX, size=count)
    crops = [photo[top : top + SIDE_PX, left : left + SIDE_PX].copy() for top, left in zip(tops, lefts, strict=True)]
    for number, crop in enumerate(crops):
        crop[0, 0] = (number % 256, number // 256, 0)
    return [Task(number, crop.astype(np.uint8)) for number, crop in enumerate(crops)]


async def spread(tasks: Sequence[Task], work: Callable[[Task], Awaitable[None]]) -> None:
    """Do `work` on every task, so many at a time."""
    left = list(tasks)

    async def one_client() -> None:
        while left:
            await work(left.pop())

    await asyncio.gather(*(one_client() for _ in range(CLIENTS)))
