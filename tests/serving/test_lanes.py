import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from sightline.api.problems import Code, Problem
from sightline.inference.fair_queue import Requester
from sightline.serving.lanes import Lanes, require_within_budget
from sightline.serving.settings import ServiceSettings
from tests.imaging import hostile

MakeSettings = Callable[..., ServiceSettings]

pytestmark = pytest.mark.anyio


@pytest.fixture
def lanes(make_settings: MakeSettings) -> Iterator[Lanes]:
    lanes = Lanes(make_settings(codec_threads=1, job_slots=1, max_request_pixels=10_000))
    lanes.start()
    yield lanes
    lanes.shut_down()


async def thread_name(lanes: Lanes, pictures: list[bytes], *, is_job: bool = False) -> str:
    async with lanes.place(Requester("a"), pictures, is_job=is_job) as pool:
        name = await asyncio.wrap_future(pool.submit(lambda: threading.current_thread().name))
    return name.rpartition("_")[0]


async def test_lane_follows_the_kind_of_work(lanes: Lanes, make_png: Callable[..., bytes]) -> None:
    assert await thread_name(lanes, []) == "codec"
    assert await thread_name(lanes, [make_png()]) == "codec"
    assert await thread_name(lanes, [hostile.saved("TIFF", 60)]) == "decoder-wait"
    assert await thread_name(lanes, [hostile.saved("TIFF", 60)], is_job=True) == "job"


async def test_pictures_are_counted_before_a_place_is_taken(lanes: Lanes) -> None:
    pictures = [hostile.saved("PNG", 80)] * 2
    with pytest.raises(Problem) as caught:
        await thread_name(lanes, pictures)
    assert (caught.value.code, caught.value.facts["pixels"]) == (Code.TOO_MANY_PIXELS, 12_800)
    assert await thread_name(lanes, pictures[:1]) == "codec"


async def test_job_waits_for_the_place_of_another(lanes: Lanes) -> None:
    async with lanes.place(Requester("a"), [], is_job=True):
        waiting = asyncio.create_task(thread_name(lanes, [], is_job=True))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert await thread_name(lanes, []) == "codec"
    assert await waiting == "job"


def test_picture_without_a_readable_header_counts_nothing() -> None:
    require_within_budget([b"no picture", hostile.saved("PNG", 10)], 100)
    with pytest.raises(Problem):
        require_within_budget([hostile.saved("PNG", 10)], 99)
