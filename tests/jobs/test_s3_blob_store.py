"""Blobs in a real S3-compatible server, a child process."""

import os
import socket
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from obstore.store import MemoryStore

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.local_blob_store import IDENTITY
from sightline.jobs.s3_blob_store import PART_BYTES, S3BlobStore
from tests.s3_server import s3_server

pytestmark = pytest.mark.anyio

URL = "s3://pictures/some/prefix"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server("pictures") as address:
        yield address


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return monkeypatch


@pytest.fixture
def store(endpoint: str, credentials: pytest.MonkeyPatch) -> BlobStore:
    credentials.setenv("AWS_ENDPOINT_URL", endpoint)
    return BlobStore.from_url(URL)


def keys_in(endpoint: str) -> str:
    return httpx2.get(f"{endpoint}/pictures?list-type=2").text + httpx2.get(f"{endpoint}/pictures?uploads").text


@pytest.mark.parametrize("size_bytes", [0, 5, PART_BYTES, 2 * PART_BYTES + 1], ids=str)
async def test_bytes_come_back_until_they_are_deleted(store: BlobStore, endpoint: str, size_bytes: int) -> None:
    data = os.urandom(size_bytes)
    ref = await store.put(data)
    assert await store.read(ref) == data
    assert f"some/prefix/sha256/{ref.sha256[:2]}/{ref.sha256[2:]}" in keys_in(endpoint)
    for _ in range(2):
        await store.delete(ref.sha256)
    with pytest.raises(Problem) as caught:
        await store.open(ref)
    assert caught.value.code is Code.GONE


async def test_an_upload_that_breaks_off_leaves_nothing(store: BlobStore, endpoint: str) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield os.urandom(2 * PART_BYTES)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.put(breaking())
    assert "incoming" not in keys_in(endpoint)


async def test_abandoned_uploads_of_dead_writers_are_deleted(store: BlobStore, endpoint: str) -> None:
    assert httpx2.put(f"{endpoint}/pictures/some/prefix/incoming/abandoned", content=b"some").status_code == 200
    assert await store.delete_abandoned(older_than_s=3600) == 0
    assert await store.delete_abandoned(older_than_s=-60) == 1
    assert "incoming" not in keys_in(endpoint)


async def test_unavailable_store_is_reported(credentials: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        credentials.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
    store = BlobStore.from_url(URL)
    with pytest.raises(Problem) as caught:
        await store.put(b"pixels")
    assert caught.value.code is Code.STORAGE_UNAVAILABLE
    assert caught.value.retry_after_s


async def test_missing_bucket_is_reported(store: BlobStore) -> None:
    other = BlobStore.from_url("s3://elsewhere")
    with pytest.raises(Problem) as caught:
        await other.put(b"pixels")
    assert caught.value.code is Code.STORAGE_UNAVAILABLE


async def test_abandoned_uploads_in_a_bucket_are_deleted() -> None:
    memory = MemoryStore()
    store = BlobStore(S3BlobStore(memory))
    ref = await store.put(b"pixels")
    memory.put("incoming/abandoned", b"some")
    assert await store.delete_abandoned(older_than_s=3600) == 0
    assert await store.delete_abandoned(older_than_s=-1) == 1
    assert await store.read(ref) == b"pixels"


async def test_an_upload_that_breaks_off_leaves_no_object() -> None:
    memory = MemoryStore()

    async def breaking() -> AsyncIterator[bytes]:
        yield bytes(PART_BYTES + 1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await BlobStore(S3BlobStore(memory)).put(breaking())
    assert [entry["path"] for page in memory.list() for entry in page] == [IDENTITY]
