"""Jobs on a real Redis, worked on by a real model service."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import redis.asyncio
from prometheus_client import CollectorRegistry

from sightline.api.evidence import Evidence
from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits
from sightline.inference.metrics import ServiceMetrics
from sightline.inference.predictor import AnyPredictor, Plan, Rendered, Upload
from sightline.inference.stages import Stages
from sightline.inference.weights import Weights
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore, name_of
from sightline.jobs.connection import connect
from sightline.jobs.job import Job, JobReason, JobState, Priority, StageProgress, StoredRequest, Submission
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.serving.service import ModelService, ServiceState
from sightline.serving.settings import ServiceSettings
from sightline.serving.worker.setup import job_worker
from tests.http.test_problem_responses import no_file_descriptors
from tests.imaging import hostile
from tests.redis_server import DURABLE, EMBEDDED, EXECUTABLES, running_redis

MakePng = Callable[..., bytes]
MakePredictor = Callable[..., AnyPredictor]
MakeSettings = Callable[..., ServiceSettings]
ValuesOf = Callable[[bytes], Sequence[int]]

MODEL = "tiny_invert"
POISON, GLUTTON = 13, 77
FAR = 1e12

pytestmark = pytest.mark.anyio


class WrappingPredictor(AnyPredictor):
    """Another predictor, to override a step of."""

    def __init__(self, inner: AnyPredictor) -> None:
        super().__init__(inner.weights, ServiceSettings())
        self._inner, self.declaration, self.signature = inner, inner.declaration, inner.signature
        self.card = inner.card

    def read(self, upload: Upload[Any]) -> Any:
        return self._inner.read(upload)

    def predict(self, request: Any) -> Plan[Any]:
        return (yield from self._inner.predict(request))

    def render(self, result: Any, media_type: str, evidence: Evidence) -> Rendered:
        return self._inner.render(result, media_type, evidence)


class GatedPredictor(WrappingPredictor):
    """Another predictor, whose plans wait on their thread until the gate is open."""

    def __init__(self, inner: AnyPredictor) -> None:
        super().__init__(inner)
        self.gate, self.begun = threading.Event(), 0

    def predict(self, request: Any) -> Plan[Any]:
        self.begun += 1
        assert self.gate.wait(20)
        return (yield from super().predict(request))


class DecodingPredictor(WrappingPredictor):
    """Another predictor, which decodes as the models do."""

    def read(self, upload: Upload[Any]) -> Any:
        decode(upload.pictures["image"][0], PixelLimits(64 << 20, 1 << 20, max_decode_s=1))
        return super().read(upload)


@dataclass
class Site:
    """A queue, a store, and services that work on what is in them."""

    settings: JobSettings
    redis: redis.asyncio.Redis
    make_service: Callable[..., ModelService]

    def __post_init__(self) -> None:
        assert self.settings.blobs_url is not None
        self.queue, self.references = JobQueue(self.redis, self.settings), BlobReferences(self.redis, self.settings)
        self.store = BlobStore.from_url(self.settings.blobs_url, resolve_identity=self.references.resolve_identity)

    @asynccontextmanager
    async def working(self, predictor: AnyPredictor, **settings: Any) -> AsyncIterator[ModelService]:
        self.registry = CollectorRegistry()
        service = self.make_service(predictor, **settings)
        async with service.running(), job_worker(service, self.settings, self.registry):
            await until(lambda: service.state is ServiceState.READY)
            yield service

    async def submit(
        self, picture: bytes, *, accept: str | None = None, query: str = "", content_type: str = "image/png"
    ) -> str:
        job_id = uuid4().hex
        body = await self.store.put(picture, reserve=lambda blob: self.references.reserve(blob, job_id=job_id))
        request = StoredRequest("/v1/tiny-invert", query, content_type, accept, body)
        submission = Submission(
            job_id, MODEL, "public", Priority.INTERACTIVE, JobReason.ASKED, request, f"request-{job_id}", job_id
        )
        return (await self.queue.submit(submission)).id

    async def ended(self, job_id: str) -> Job:
        job = await self.queue.wait(job_id, timeout_s=60)
        assert job.state.terminal, f"still {job.state}"
        return job

    async def until_taken(self, job_id: str) -> None:
        async with asyncio.timeout(20):
            while (await self.queue.get(job_id)).state is not JobState.RUNNING:
                await asyncio.sleep(0.01)

    async def until_stage(self, job_id: str, stage: str) -> None:
        async with asyncio.timeout(20):
            while (await self.queue.get(job_id)).progress != StageProgress(stage):
                await asyncio.sleep(0.01)

    async def bodies(self, job: Job) -> dict[str, bytes]:
        return {result.media_type: await self.store.read(result.blob) for result in job.results}

    def measured(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"model": MODEL, "priority": "interactive", **labels}) or 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def make_service(make_settings: MakeSettings) -> Callable[..., ModelService]:
    def make(predictor: AnyPredictor, **settings: Any) -> ModelService:
        return ModelService(predictor, make_settings(**settings), ServiceMetrics(CollectorRegistry()), pytest.fail)

    return make


@asynccontextmanager
async def opened(
    redis_url: str, folder: Path, make_service: Callable[..., ModelService], **settings: Any
) -> AsyncIterator[Site]:
    values = {"redis_url": redis_url, "blobs_url": folder.as_uri(), "retry_base_s": 0.05, **settings}
    async with connect(redis_url) as connection:
        yield Site(JobSettings(**values), connection, make_service)


@pytest.fixture
async def site(redis_url: str, tmp_path: Path, make_service: Callable[..., ModelService]) -> AsyncIterator[Site]:
    async with opened(redis_url, tmp_path / "blobs", make_service) as site:
        yield site


@pytest.fixture
def gated(make_predictor: MakePredictor) -> GatedPredictor:
    return GatedPredictor(make_predictor())


async def test_job_has_a_result_in_every_accepted_media_type(
    site: Site, make_predictor: MakePredictor, make_png: MakePng, value_of: ValuesOf, tiny_weights: Weights
) -> None:
    async with site.working(make_predictor()) as service:
        job = await site.ended(await site.submit(make_png(50), query="times=3&tags=a"))
        bodies = await site.bodies(job)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)
    assert list(bodies) == ["image/png", "application/json"]
    assert value_of(bodies["image/png"]) == [205]
    record = json.loads(bodies["application/json"])
    assert record["tags"] == ["a"]
    assert record["evidence"]["request_id"] == job.request_id
    assert set(job.stages_ms) == {"read", "decode", "queue", "infer", "encode"}
    headers = job.results[0].headers
    assert headers["X-Tiny"] == "yes"
    assert headers["X-Sightline-Model"] == str(service.identity)
    assert headers["X-Sightline-Input-Sha256"] == job.request.body.sha256 == record["evidence"]["input_sha256"]


async def test_job_results_are_the_accepted_media_types_the_best_first(
    site: Site, make_predictor: MakePredictor, make_png: MakePng
) -> None:
    async with site.working(make_predictor()):
        json_first = await site.ended(await site.submit(make_png(), accept="image/*;q=0.5, application/json"))
        json_only = await site.ended(await site.submit(make_png(), accept="application/json"))
    assert [result.media_type for result in json_first.results] == ["application/json", "image/png"]
    assert [result.media_type for result in json_only.results] == ["application/json"]


@pytest.mark.parametrize(
    ("picture", "accept", "code"),
    [
        (b"not a picture", None, "unreadable_image"),
        (b"", None, "invalid_request"),
        (None, "text/html", "not_acceptable"),
    ],
    ids=["unreadable", "missing", "unacceptable"],
)
async def test_invalid_request_fails_its_job_at_once(
    site: Site,
    make_predictor: MakePredictor,
    make_png: MakePng,
    picture: bytes | None,
    accept: str | None,
    code: str,
) -> None:
    async with site.working(make_predictor()):
        job_id = await site.submit(make_png() if picture is None else picture, accept=accept)
        job = await site.ended(job_id)
    assert (job.state, job.attempts) == (JobState.FAILED, 1)
    assert job.problem is not None
    assert (job.problem["code"], job.problem["request_id"]) == (code, job.request_id)
    assert site.measured("sightline_job_attempt_ends_total", end="failed") == 1


async def test_failing_model_is_retried_until_the_job_is_dead(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    make_predictor: MakePredictor,
    make_png: MakePng,
) -> None:
    async with opened(redis_url, tmp_path, make_service, max_attempts=2) as site, site.working(make_predictor()):
        dead = await site.ended(await site.submit(make_png(POISON)))
        well = await site.ended(await site.submit(make_png(50)))
    assert (dead.state, dead.attempts) == (JobState.DEAD, 2)
    assert dead.problem is not None
    assert dead.problem["code"] == "internal"
    assert well.state is JobState.SUCCEEDED
    assert site.measured("sightline_job_attempt_ends_total", end="retrying") == 2


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x"])
async def test_upload_damaged_in_the_store_is_an_internal_error(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    make_predictor: MakePredictor,
    make_png: MakePng,
    content_type: str,
) -> None:
    async with opened(redis_url, tmp_path, make_service, max_attempts=2) as site:
        job_id = await site.submit(make_png(), content_type=content_type)
        name = name_of((await site.queue.get(job_id)).request.body.sha256)
        (tmp_path / name).write_bytes(b"--x\r\nnothing that was sent\r\n\r\n")
        async with site.working(make_predictor()):
            job = await site.ended(job_id)
    assert (job.state, job.attempts) == (JobState.DEAD, 2)
    assert job.problem is not None
    assert job.problem["code"] == "internal"


async def test_attempt_is_limited_in_time(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    gated: GatedPredictor,
    make_png: MakePng,
) -> None:
    one = opened(redis_url, tmp_path, make_service, max_attempts=1)
    async with one as site, site.working(gated, job_deadline_s=0.2):
        job = await site.ended(await site.submit(make_png()))
        gated.gate.set()
    assert job.state is JobState.DEAD
    assert job.problem is not None
    assert job.problem["code"] == "deadline_exceeded"


async def test_worker_takes_no_more_jobs_than_slots(site: Site, gated: GatedPredictor, make_png: MakePng) -> None:
    async with site.working(gated, job_slots=2, codec_threads=4):
        ids = [await site.submit(make_png(value)) for value in (20, 30, 40)]
        await until(lambda: gated.begun == 2)
        states = [(await site.queue.get(job_id)).state for job_id in ids]
        in_flight = site.measured("sightline_jobs_in_flight")
        gated.gate.set()
        ended = [await site.ended(job_id) for job_id in ids]
    assert states == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
    assert in_flight == 2
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert site.measured("sightline_job_attempts_total") == 3
    assert site.measured("sightline_jobs_in_flight") == 0
    assert site.measured("sightline_job_duration_seconds_count") == 3


async def test_service_without_slots_takes_no_jobs(
    site: Site, make_predictor: MakePredictor, make_png: MakePng
) -> None:
    async with site.working(make_predictor(), job_slots=0):
        job_id = await site.submit(make_png())
        async with site.working(make_predictor()):
            await site.ended(job_id)
    assert site.measured("sightline_job_attempts_total") == 1


async def test_progress_of_a_job_has_its_stage(site: Site, gated: GatedPredictor, make_png: MakePng) -> None:
    async with site.working(gated):
        job_id = await site.submit(make_png())
        await site.until_stage(job_id, "decode")
        gated.gate.set()
        assert (await site.ended(job_id)).progress is None


async def test_cancelled_job_frees_its_slot_at_once(site: Site, gated: GatedPredictor, make_png: MakePng) -> None:
    async with site.working(gated, job_slots=1):
        cancelled = await site.submit(make_png(20))
        await until(lambda: gated.begun == 1)
        await site.queue.cancel(cancelled, owner="public")
        await until(lambda: site.measured("sightline_job_attempt_ends_total", end="cancelled") == 1)
        next_one = await site.submit(make_png(30))
        await site.until_taken(next_one)
        gated.gate.set()
        assert (await site.ended(next_one)).state is JobState.SUCCEEDED
    assert gated.begun == 2
    job = await site.queue.get(cancelled)
    assert (job.state, job.results) == (JobState.CANCELLED, ())
    assert site.measured("sightline_job_lost_leases_total") == 0


async def test_attempt_with_a_lost_lease_ends_and_writes_nothing(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    gated: GatedPredictor,
    make_png: MakePng,
) -> None:
    async with opened(redis_url, tmp_path, make_service, lease_s=0.6) as site, site.working(gated, job_slots=1):
        job_id = await site.submit(make_png())
        await until(lambda: gated.begun == 1)
        await site.redis.hset(f"sightline:job:{job_id}", mapping={"token": "another's", "worker": "another"})
        await until(lambda: site.measured("sightline_job_lost_leases_total") == 1)
        gated.gate.set()
        job = await site.queue.get(job_id)
    assert (job.state, job.results) == (JobState.RUNNING, ())


async def test_stopping_service_finishes_its_jobs_and_takes_no_more(
    site: Site, gated: GatedPredictor, make_png: MakePng
) -> None:
    async with site.working(gated, job_slots=1) as service:
        first, second = await site.submit(make_png(20)), await site.submit(make_png(30))
        await until(lambda: gated.begun == 1)
        service.start_draining()
        asyncio.get_running_loop().call_later(0.1, gated.gate.set)
    assert (await site.queue.get(first)).state is JobState.SUCCEEDED
    assert (await site.queue.get(second)).state is JobState.QUEUED


async def test_job_that_does_not_end_in_the_drain_time_is_handed_back(
    site: Site, gated: GatedPredictor, make_predictor: MakePredictor, make_png: MakePng
) -> None:
    async with site.working(gated, drain_s=0.1):
        job_id = await site.submit(make_png())
        await until(lambda: gated.begun == 1)
        # A thread cannot be stopped, only left, and the end of the service waits for it.
        release = threading.Timer(1, gated.gate.set)
        release.start()
    release.join()
    returned = await site.queue.get(job_id)
    assert (returned.state, returned.attempts) == (JobState.QUEUED, 0)
    assert site.measured("sightline_job_attempt_ends_total", end="returned") == 1
    async with site.working(make_predictor()):
        assert (await site.ended(job_id)).state is JobState.SUCCEEDED


async def test_results_wait_for_the_store_to_come_back(
    site: Site, gated: GatedPredictor, make_png: MakePng, tmp_path: Path
) -> None:
    blobs, away = tmp_path / "blobs", tmp_path / "away"
    async with site.working(gated):
        job_id = await site.submit(make_png())
        await until(lambda: gated.begun == 1)
        blobs.rename(away)
        blobs.touch()  # a file where the folder was: nothing can be stored below it
        gated.gate.set()
        await site.until_stage(job_id, "encode")
        blobs.unlink()
        away.rename(blobs)
        job = await site.ended(job_id)
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)


async def test_worker_continues_when_redis_is_back(
    tmp_path: Path, make_service: Callable[..., ModelService], gated: GatedPredictor, make_png: MakePng
) -> None:
    with running_redis(EMBEDDED, *DURABLE) as server:
        async with opened(server.url, tmp_path, make_service) as site, site.working(gated, job_slots=1) as service:
            running, queued = await site.submit(make_png(20)), await site.submit(make_png(30))
            await until(lambda: gated.begun == 1)
            server.kill()
            gated.gate.set()
            assert await service.run(await plain_plan(service, make_png()), Stages(), FAR)
            assert service.state is ServiceState.READY
            server.start()
            jobs = [await site.ended(job_id) for job_id in (running, queued)]
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.SUCCEEDED, 1)] * 2


@pytest.mark.parametrize("executable", EXECUTABLES)
async def test_jobs_end_on_a_full_redis(
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    gated: GatedPredictor,
    make_png: MakePng,
    executable: str,
) -> None:
    with running_redis(executable, "--maxmemory-policy", "noeviction") as server:
        async with opened(server.url, tmp_path, make_service) as site, site.working(gated, job_slots=2):
            ids = [await site.submit(make_png(value)) for value in (20, 30, 40)]
            cancelled = await site.submit(make_png(50))
            await until(lambda: gated.begun == 2)
            used = (await site.redis.info("memory"))["used_memory"]
            await site.redis.config_set("maxmemory", used // 2)
            with pytest.raises(Problem) as refused:
                await site.submit(make_png(60))
            gated.gate.set()
            await site.queue.cancel(cancelled)
            jobs = [await site.ended(job_id) for job_id in ids]
            bodies = [await site.bodies(job) for job in jobs]
    assert refused.value.code is Code.QUEUE_UNAVAILABLE
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.SUCCEEDED, 1)] * 3
    assert all(len(forms) == 2 for forms in bodies)


async def test_jobs_wait_for_a_store_that_is_not_mounted(
    site: Site, make_predictor: MakePredictor, make_png: MakePng, tmp_path: Path
) -> None:
    mounted, disk = tmp_path / "blobs", tmp_path / "disk"
    before = await site.submit(make_png(20))
    mounted.rename(disk)
    mounted.mkdir()  # an empty folder, as a mount point is
    async with site.working(make_predictor()) as service:
        await until(lambda: site.measured("sightline_job_attempts_total") == 1)
        with pytest.raises(Problem) as refused:
            await site.submit(make_png(30))
        assert service.state is ServiceState.READY
        await asyncio.sleep(1)
        waiting, left = await site.queue.get(before), list(mounted.iterdir())
        mounted.rmdir()
        disk.rename(mounted)
        job = await site.ended(before)
        assert (await site.ended(await site.submit(make_png(30)))).state is JobState.SUCCEEDED
    assert refused.value.code is Code.STORAGE_UNAVAILABLE
    assert (waiting.state.terminal, left) == (False, [])
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 1)


@pytest.mark.parametrize("shortage", ["store", "files"])
async def test_shortage_of_the_service_does_not_count_as_an_attempt(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    gated: GatedPredictor,
    make_png: MakePng,
    shortage: str,
) -> None:
    blobs, away = tmp_path / "blobs", tmp_path / "away"
    one = opened(redis_url, blobs, make_service, max_attempts=1)
    async with one as site, site.working(gated, job_slots=1, job_deadline_s=1.0) as service:
        first, second = await site.submit(make_png(20)), await site.submit(make_png(30))
        await until(lambda: gated.begun == 1)
        with no_file_descriptors() if shortage == "files" else absent(blobs, away):
            gated.gate.set()
            await until(lambda: site.measured("sightline_job_attempt_ends_total", end="returned") == 1)
            taken = site.measured("sightline_job_attempts_total")
            told = (service.worker_health and service.worker_health.trouble, takes_jobs(site))
        jobs = [await site.ended(job_id) for job_id in (first, second)]
        assert (service.worker_health and service.worker_health.trouble, takes_jobs(site)) == (None, 1)
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.SUCCEEDED, 1)] * 2
    assert told[0]
    assert (told[1], taken) == (0, 1)


@contextmanager
def absent(folder: Path, elsewhere: Path) -> Iterator[None]:
    folder.rename(elsewhere)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        elsewhere.rename(folder)


def takes_jobs(site: Site) -> float | None:
    return site.registry.get_sample_value("sightline_service_takes_jobs", {"model": MODEL})


async def test_job_too_large_for_the_memory_fails_alone(
    redis_url: str,
    tmp_path: Path,
    make_service: Callable[..., ModelService],
    make_predictor: MakePredictor,
    make_png: MakePng,
) -> None:
    predictor = Gluttonous(make_predictor())
    async with opened(redis_url, tmp_path, make_service, max_attempts=2) as site, site.working(predictor):
        large, well = await site.submit(make_png(GLUTTON)), await site.submit(make_png(20))
        jobs = [await site.ended(job_id) for job_id in (large, well)]
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.DEAD, 2), (JobState.SUCCEEDED, 1)]
    assert site.measured("sightline_job_attempt_ends_total", end="returned") == 1


class Gluttonous(WrappingPredictor):
    """Takes more memory than there is for one picture."""

    def predict(self, request: Any) -> Plan[Any]:
        if np.all(request[0] == GLUTTON):
            np.zeros(1 << 50)
        return (yield from self._inner.predict(request))


async def plain_plan(service: ModelService, picture: bytes) -> Plan[Any]:
    upload = Upload({"image": [picture]}, service.predictor.declaration.options())
    return service.predictor.predict(service.predictor.read(upload))


async def test_picture_that_takes_too_long_fails_its_job_at_once(site: Site, make_predictor: MakePredictor) -> None:
    slow = hostile.png(surplus_mb=20_000)
    async with site.working(DecodingPredictor(make_predictor()), max_job_bytes=1 << 30) as service:
        assert service.settings.job_slots > 1
        slow_ids = [await site.submit(slow[:-1] + bytes([number])) for number in range(2)]
        jobs = [await site.ended(job_id) for job_id in slow_ids]
        fine = await site.ended(await site.submit(hostile.png(side_px=8)))
    assert [(job.state, job.attempts) for job in jobs] == [(JobState.FAILED, 1)] * 2
    assert all(job.problem and job.problem["code"] == "unreadable_image" for job in jobs)
    assert [job.problem and job.problem.get("limit") for job in jobs] == ["time"] * 2
    assert fine.state is JobState.SUCCEEDED
