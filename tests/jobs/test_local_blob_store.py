import os
from pathlib import Path

import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_store import BlobStore, ResolveIdentity
from sightline.jobs.local_blob_store import LocalBlobStore
from tests.jobs.conftest import files

pytestmark = pytest.mark.anyio


async def test_unusable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Problem) as caught:
        await BlobStore(LocalBlobStore(tmp_path / "file")).put(b"pixels")
    assert caught.value.code is Code.STORAGE_UNAVAILABLE


async def test_abandoned_uploads_of_dead_writers_are_deleted(on_disk: BlobStore, folder: Path) -> None:
    ref = await on_disk.put(b"pixels")
    abandoned, current = (folder / "incoming" / name for name in ("abandoned", "current"))
    for path in (abandoned, current):
        path.write_bytes(b"some")
    os.utime(abandoned, (0, 0))
    assert await on_disk.delete_abandoned(older_than_s=3600) == 1
    assert files(folder / "incoming") == [current]
    assert await on_disk.read(ref) == b"pixels"


async def test_a_folder_that_vanishes_is_not_made_anew(on_disk: BlobStore, folder: Path) -> None:
    ref = await on_disk.put(b"pixels")
    again = BlobStore(LocalBlobStore(folder), resolve_identity=keep_to(LocalBlobStore(folder).identity()))
    folder.rename(folder.with_name("unmounted"))
    folder.mkdir()

    for store in (on_disk, again):
        for attempt in (store.read(ref), store.delete(ref.sha256), store.delete_abandoned(older_than_s=0)):
            with pytest.raises(Problem) as caught:
                await attempt
            assert caught.value.code is Code.STORAGE_UNAVAILABLE
        with pytest.raises(Problem):
            await store.put(b"others")
    assert list(folder.iterdir()) == []

    folder.rmdir()
    folder.with_name("unmounted").rename(folder)
    assert await again.read(ref) == await on_disk.read(ref) == b"pixels"


async def test_a_folder_that_is_unmounted_during_the_check_is_not_made_anew(folder: Path) -> None:
    async def unmount(found: str | None) -> str | None:
        if found is not None:
            folder.rename(folder.with_name("unmounted"))
            folder.mkdir()
        return found or "first"

    store = BlobStore(LocalBlobStore(folder), resolve_identity=unmount)
    await store.probe()
    with pytest.raises(Problem) as caught:
        await store.probe()
    assert caught.value.code is Code.STORAGE_UNAVAILABLE
    assert list(folder.iterdir()) == []


def keep_to(identity: str | None) -> ResolveIdentity:
    async def resolve_identity(found: str | None) -> str | None:
        return identity if found == identity else None

    return resolve_identity
