import asyncio
from pathlib import Path

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_store import BlobStore
from sightline.serving.worker.health import WorkerHealth

pytestmark = pytest.mark.anyio


async def test_worker_recovers_once_its_store_is_back(tmp_path: Path) -> None:
    blobs, away = tmp_path / "blobs", tmp_path / "away"
    store = BlobStore.from_url(blobs.as_uri())
    await store.probe()
    blobs.rename(away)
    with pytest.raises(Problem) as caught:
        await store.probe()
    assert caught.value.code is Code.STORAGE_UNAVAILABLE

    health = WorkerHealth(store)
    health.report(caught.value.detail)
    recovering = asyncio.create_task(health.recovered())
    await asyncio.sleep(0.5)
    assert (recovering.done(), health.trouble) == (False, caught.value.detail)
    away.rename(blobs)
    async with asyncio.timeout(10):
        await recovering
    assert health.trouble is None


async def test_unexpected_failure_of_the_probe_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    health = WorkerHealth(BlobStore.from_url(tmp_path.as_uri()))
    health.report("Away.")

    async def fail(_: BlobStore) -> None:
        raise ValueError("a fault of the program")

    monkeypatch.setattr(BlobStore, "probe", fail)
    with pytest.raises(ValueError, match="fault of the program"):
        await health.recovered()
