import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.jobs.blob_store import BlobStore
from sightline.jobs.local_blob_store import LocalBlobStore
from sightline.runtime.private_files import private_folder, private_umask, restrict


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=[0o000, 0o022, 0o002], ids=oct, autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    paths = (folder, *folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.mark.anyio
async def test_store_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    store = BlobStore(LocalBlobStore(tmp_path / "blobs"))
    await store.put(b"pixels")
    found = modes(tmp_path / "blobs")
    assert all(mode & 0o077 == 0 for name, mode in found.items() if (tmp_path / "blobs" / name).is_file())
    assert found["."] == found["incoming"] == 0o700


@pytest.mark.anyio
async def test_existing_store_becomes_private(tmp_path: Path) -> None:
    await BlobStore(LocalBlobStore(tmp_path)).put(b"pixels")
    tmp_path.chmod(0o755)
    again = LocalBlobStore(tmp_path)
    again.attach(again.identity() or "")
    assert modes(tmp_path)["."] == 0o700


def test_files_created_under_the_umask_are_private(tmp_path: Path, umask: int) -> None:
    with private_umask():
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
    assert {modes(tmp_path)[name] for name in ("file", "folder")} == {0o600, 0o700}
    (tmp_path / "later").touch()
    assert modes(tmp_path)["later"] == 0o666 & ~umask


def test_shared_folders_links_and_missing_files_stay_as_they_are(tmp_path: Path) -> None:
    shared, target = tmp_path / "shared", tmp_path / "target"
    shared.mkdir()
    shared.chmod(0o1777)
    target.touch()
    target.chmod(0o644)
    (tmp_path / "link").symlink_to(target)
    private_folder(shared)
    for name in ("link", "missing"):
        restrict(tmp_path / name)
    assert (modes(tmp_path)["shared"], modes(tmp_path)["target"]) == (0o1777, 0o644)
