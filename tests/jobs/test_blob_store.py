import asyncio
import hashlib
import os
import subprocess
import tempfile
import threading
import tracemalloc
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_store import BlobStore, name_of
from sightline.jobs.job import BlobRef
from sightline.jobs.local_blob_store import LocalBlobStore, LocalBlobUpload
from sightline.jobs.s3_blob_store import PART_BYTES, S3BlobStore
from tests.jobs.conftest import files

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    return BlobStore(LocalBlobStore(tmp_path / "blobs") if request.param == "folder" else S3BlobStore(MemoryStore()))


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def ref_of(data: bytes) -> BlobRef:
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize(
    ("size_bytes", "chunk_bytes"), [(0, 1), (1, 1), (1999, 999), (3 * MIB + 1, 64 * 1024), (3 * MIB, 3 * MIB)], ids=str
)
async def test_bytes_come_back_by_their_hash(store: BlobStore, size_bytes: int, chunk_bytes: int) -> None:
    data = os.urandom(size_bytes)
    ref = await store.put(pieces(*(data[i : i + chunk_bytes] for i in range(0, size_bytes, chunk_bytes))))
    assert ref == ref_of(data)
    assert await store.read(ref) == data


async def test_bytes_beyond_one_part_come_back(store: BlobStore) -> None:
    data = os.urandom(2 * PART_BYTES + 1)
    ref = await store.put(data)
    assert ref == ref_of(data)
    assert b"".join([block async for block in await store.open(ref)]) == data


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=50)))
def test_chunk_sizes_do_not_change_the_blob(chunks: list[bytes]) -> None:
    async def round_trip() -> bytes:
        store = BlobStore(S3BlobStore(MemoryStore()))
        ref = await store.put(pieces(*chunks))
        assert ref == await store.put(b"".join(chunks))
        return await store.read(ref)

    assert asyncio.run(round_trip()) == b"".join(chunks)


@pytest.mark.parametrize("reader", ["read", "open"])
async def test_deleted_blob_is_gone_until_it_is_put_again(store: BlobStore, reader: str) -> None:
    ref = await store.put(b"pixels")
    for _ in range(2):
        await store.delete(ref.sha256)
    with pytest.raises(Problem) as caught:
        await getattr(store, reader)(ref)
    assert caught.value.code is Code.GONE
    assert await store.put(b"pixels") == ref
    assert await store.read(ref) == b"pixels"


async def test_blob_gets_its_name_only_after_the_reservation(store: BlobStore) -> None:
    reserved: list[BlobRef] = []

    async def reserve(ref: BlobRef) -> None:
        with pytest.raises(Problem):
            await store.read(ref)
        reserved.append(ref)

    ref = await store.put(b"pixels", reserve=reserve)
    assert reserved == [ref]
    assert await store.read(ref) == b"pixels"


async def test_a_refused_reservation_leaves_nothing(on_disk: BlobStore, folder: Path) -> None:
    async def refuse(_: BlobRef) -> None:
        raise Problem(Code.STORAGE_UNAVAILABLE, "It is full.")

    with pytest.raises(Problem, match="It is full"):
        await on_disk.put(b"pixels", reserve=refuse)
    assert files(folder) == []


async def test_an_upload_that_breaks_off_leaves_nothing(on_disk: BlobStore, folder: Path) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(2 * MIB)
        assert len(files(folder)) == 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await on_disk.put(breaking())
    assert files(folder) == []


async def test_a_cancelled_upload_leaves_nothing(on_disk: BlobStore, folder: Path) -> None:
    stuck = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield bytes(2 * MIB)
        stuck.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(on_disk.put(hanging()))
    await stuck.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert files(folder) == []


async def test_damaged_blob_raises_internal_error(on_disk: BlobStore, folder: Path) -> None:
    ref = await on_disk.put(b"pixels")
    (folder / name_of(ref.sha256)).write_bytes(b"pixelz")
    with pytest.raises(Problem) as caught:
        await on_disk.read(ref)
    assert caught.value.code is Code.INTERNAL


async def test_an_upload_is_not_held_in_memory(on_disk: BlobStore) -> None:
    async def large() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield os.urandom(MIB // 2)

    tracemalloc.start()
    try:
        ref = await on_disk.put(large())
        async for _ in on_disk.stream(ref):
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ref.size_bytes == 32 * MIB
    assert peak_bytes < 8 * MIB


async def test_a_reader_that_stops_early_leaves_no_open_file(on_disk: BlobStore, folder: Path) -> None:
    ref = await on_disk.put(bytes(3 * MIB))
    async with aclosing(on_disk.stream(ref)) as stream:
        assert len(await anext(stream)) == MIB
        assert open_below(folder)
    assert not open_below(folder)


def open_below(folder: Path) -> list[str]:
    links = Path("/proc/self/fd").iterdir()
    return [str(link) for link in links if link.is_symlink() and _target(link).startswith(str(folder))]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the descriptor that lists the others
        return ""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """4 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("file systems can be mounted by root only")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


async def test_full_disk_is_reported_and_its_space_is_released(small_disk: Path) -> None:
    store = BlobStore(LocalBlobStore(small_disk))
    with pytest.raises(Problem) as caught:
        await store.put(pieces(*[os.urandom(MIB)] * 6))
    assert caught.value.code is Code.STORAGE_UNAVAILABLE
    assert caught.value.retry_after_s
    assert files(small_disk) == []
    ref = await store.put(bytes(3 * MIB))
    assert len(await store.read(ref)) == 3 * MIB


async def test_a_url_names_the_folder(tmp_path: Path) -> None:
    ref = await BlobStore.from_url(f"file://{tmp_path}/a%20b").put(b"pixels")
    assert (tmp_path / "a b" / name_of(ref.sha256)).read_bytes() == b"pixels"


@pytest.mark.parametrize("url", ["blobs", "/srv/blobs", "file://host/blobs", "file:///", "ftp://a/b", "s3://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="file:///folder or s3://bucket/prefix"):
        BlobStore.from_url(url)


class Hanging(LocalBlobStore):
    """A folder on a disk that answers nothing while `stuck` is set, as a network's does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.answers = threading.Event()

    def open_upload(self) -> LocalBlobUpload:
        self.answers.wait(20)
        return super().open_upload()

    def blocks(self, name: str) -> Generator[bytes]:
        self.answers.wait(20)
        yield from super().blocks(name)


async def test_hanging_store_is_reported_within_its_limit(folder: Path) -> None:
    disk = Hanging(folder)
    store = BlobStore(disk, limit_s=0.1)
    await store.verify()
    calls = [store.put(b"%d" % n) for n in range(10)] + [store.read(ref_of(b"pixels")) for _ in range(10)]
    outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    disk.answers.set()

    assert all(isinstance(outcome, Problem) and outcome.code is Code.STORAGE_UNAVAILABLE for outcome in outcomes)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await store.read(await store.put(b"pixels")) == b"pixels"
            except Problem:
                await asyncio.sleep(0.05)
            else:
                break
