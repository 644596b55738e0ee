"""The life of a service: warming, ready, draining, failed."""

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from sightline.api.problems import Code, Problem
from sightline.inference.fair_queue import ANONYMOUS
from sightline.inference.metrics import ServiceMetrics
from sightline.inference.predictor import AnyPredictor, Plan
from sightline.inference.signature import Tensors
from sightline.inference.stages import Stages
from sightline.inference.weights import Weights, load_weights
from sightline.serving.service import ModelService, ServiceState
from sightline.serving.settings import ServiceSettings

MakePredictor = Callable[..., AnyPredictor]
MakeSettings = Callable[..., ServiceSettings]
MakeService = Callable[..., ModelService]

FAR = 1e12

pytestmark = pytest.mark.anyio


@pytest.fixture
def make_service(make_predictor: MakePredictor, make_settings: MakeSettings) -> MakeService:
    def make(
        weights: Weights | None = None,
        on_fatal: Callable[[], None] = pytest.fail,
        on_stall: Callable[[], None] = pytest.fail,
        **settings: Any,
    ) -> ModelService:
        predictor = make_predictor(weights=weights) if weights else make_predictor()
        metrics = ServiceMetrics(CollectorRegistry())
        return ModelService(predictor, make_settings(**settings), metrics, on_fatal, on_stall)

    return make


@asynccontextmanager
async def ready(service: ModelService) -> AsyncIterator[None]:
    async with service.running():
        await until(lambda: service.state is ServiceState.READY)
        yield


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def invert(value: int) -> Plan[float]:
    outputs = yield [{"image": np.full((8, 8, 3), value, np.uint8)}]
    return float(outputs[0]["inverted"].max())


async def test_service_is_warming_until_every_bucket_ran(make_service: MakeService) -> None:
    service = make_service()
    assert service.state == "warming"
    with pytest.raises(Problem, match="loading") as caught:
        service.require_room(ANONYMOUS)
    assert caught.value.code is Code.NOT_READY
    async with ready(service):
        service.require_room(ANONYMOUS)
        assert await service.run(invert(51), Stages(), FAR) == pytest.approx(0.8)
    assert service.state is ServiceState.DRAINING


async def test_service_has_room_only_while_it_is_ready(make_service: MakeService) -> None:
    service = make_service()
    rooms = [service.has_room]
    async with ready(service):
        rooms.append(service.has_room)
        service.start_draining()
        rooms.append(service.has_room)
    assert rooms == [False, True, False]


async def test_drain_time_begins_with_the_first_call(make_service: MakeService) -> None:
    service = make_service(drain_s=30)
    assert service.drain_left_s == math.inf
    service.start_draining()
    first = service.drain_left_s
    service.start_draining()
    assert 0 < service.drain_left_s <= first <= 30


async def test_accepted_requests_finish_before_the_end(make_service: MakeService) -> None:
    service = make_service()
    answers: list[float] = []

    async def accepted(holding: asyncio.Event, draining: asyncio.Event) -> None:
        with service.hold(1):
            holding.set()
            await draining.wait()
            answers.append(await service.run(invert(255), Stages(), FAR))

    holding, draining = asyncio.Event(), asyncio.Event()
    async with ready(service):
        task = asyncio.create_task(accepted(holding, draining))
        await holding.wait()
        service.start_draining()
        with pytest.raises(Problem, match="stopping"):
            service.require_room(ANONYMOUS)
        asyncio.get_running_loop().call_later(0.05, draining.set)
    await task
    assert answers == pytest.approx([0.0], abs=1e-6)


async def test_draining_is_bounded(make_service: MakeService) -> None:
    service = make_service(drain_s=0.05)
    async with ready(service):
        service.hold(1).__enter__()
    assert service.state is ServiceState.DRAINING


async def test_weights_that_do_not_load_end_the_process(
    make_service: MakeService, tiny_weights: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    tiny_weights.path.write_bytes(b"not a graph")
    fatal = asyncio.Event()
    service = make_service(on_fatal=fatal.set)
    with caplog.at_level(logging.CRITICAL):
        async with service.running():
            await asyncio.wait_for(fatal.wait(), 20)
            assert service.state is ServiceState.FAILED
            with pytest.raises(Problem, match="did not load"):
                service.require_ready()


async def test_silent_fallback_to_the_cpu_ends_the_process(make_service: MakeService) -> None:
    fatal = asyncio.Event()
    async with make_service(on_fatal=fatal.set, providers=("cuda",)).running():
        await asyncio.wait_for(fatal.wait(), 20)


async def test_replaced_weights_of_fixed_size_are_the_only_bucket(
    make_service: MakeService, tiny_weights: Weights, tmp_path: Path
) -> None:
    contract = tmp_path / "mine.toml"
    text = tiny_weights.path.with_suffix(".toml").read_text()
    contract.write_text("fixed_size = [16, 16]\n" + text.replace('"tiny"', '"mine"'))
    service = make_service(load_weights(tiny_weights.path, contract, shipped=False))
    async with ready(service):
        assert service.signature.buckets == ({"h": 16, "w": 16},)
        assert service.identity.contract == "mine"
        with pytest.raises(Problem, match="match no size"):
            await service.run(invert(51), Stages(), FAR)


async def test_hanging_device_is_not_ready_and_ends_the_process(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalls = threading.Event()
    service, release = make_service(stall_s=0.01, on_stall=stalls.set), threading.Event()
    async with ready(service):
        run = service.session.run

        def hang(batch: Tensors) -> Tensors:
            assert release.wait(20)
            return run(batch)

        monkeypatch.setattr(service.session, "run", hang)
        task = asyncio.create_task(service.run(invert(51), Stages(), FAR))
        await until(lambda: service.state is ServiceState.UNHEALTHY and stalls.is_set())
        release.set()
        assert await task == pytest.approx(0.8)
        await until(lambda: service.state is ServiceState.READY)


async def test_deadline_ends_the_wait(make_service: MakeService) -> None:
    service = make_service()
    async with ready(service):
        with pytest.raises(Problem) as caught:
            await service.run(invert(51), Stages(), 0.0)
        assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_overload_is_counted(make_service: MakeService) -> None:
    service = make_service(max_in_flight=1)
    async with ready(service):
        with service.hold(1), pytest.raises(Problem), service.hold(1):
            pass
        assert service.metrics.shed.labels(service.name)._value.get() == 1
