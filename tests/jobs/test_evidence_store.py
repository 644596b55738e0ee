"""Records of pictures in a real Redis."""

import pytest

from sightline.evidence.canonical_json import to_header
from sightline.jobs.connection import connect
from sightline.jobs.evidence_store import MAX_RECORDS_PER_REQUEST, EvidenceStore, describedby_link, record_id
from tests.evidence.test_canonical_json import make_evidence
from tests.jobs.conftest import Bench


def header(precision: str = "fp32") -> str:
    text = to_header(make_evidence(precision=precision))
    assert text
    return text


def store_of(bench: Bench, ttl_s: float = 60) -> EvidenceStore:
    return EvidenceStore(bench.redis, prefix=bench.settings.redis_prefix, ttl_s=ttl_s)


@pytest.mark.anyio
async def test_record_is_found_by_its_request_and_by_its_own_id(bench: Bench) -> None:
    store = store_of(bench)
    assert await store.put("ada", "r1", header("int8")) == f"/v1/evidence/r1?record={record_id(header('int8'))}"
    await store.put("ada", "r1", header())
    newest, chosen = await store.get("ada", "r1", None), await store.get("ada", "r1", record_id(header("int8")))
    assert newest is not None
    assert chosen is not None
    assert (newest["precision"], chosen["precision"]) == ("fp32", "int8")


@pytest.mark.anyio
async def test_record_of_another_owner_or_request_is_not_found(bench: Bench) -> None:
    store = store_of(bench)
    await store.put("ada", "r1", header())
    assert await store.get("eve", "r1", None) is None
    assert await store.get("ada", "r2", None) is None
    assert await store.get("ada", "r1", "0" * 16) is None


@pytest.mark.anyio
async def test_record_expires_and_a_request_id_cannot_fill_redis(bench: Bench) -> None:
    store = store_of(bench)
    for index in range(MAX_RECORDS_PER_REQUEST + 5):
        await store.put("ada", "r1", header(str(index)))
    (key,) = await bench.redis.keys("*evidence:*")
    assert await bench.redis.llen(key) == MAX_RECORDS_PER_REQUEST
    assert 0 < await bench.redis.pttl(key) <= 60_000


@pytest.mark.anyio
async def test_link_has_the_prefix_and_is_absent_without_store_or_record(bench: Bench) -> None:
    facts = {"owner": "ada", "request_id": "r1", "prefix": "/app"}
    link = await describedby_link(store_of(bench), header=header(), **facts)
    assert link is not None
    assert link.startswith("</app/v1/evidence/r1?record=")
    assert await describedby_link(None, header=header(), **facts) is None
    assert await describedby_link(store_of(bench), header=None, **facts) is None


@pytest.mark.anyio
async def test_reply_has_no_link_while_redis_is_away() -> None:
    async with connect("redis://127.0.0.1:1/0") as away:
        assert await EvidenceStore(away, prefix="sightline:", ttl_s=60).put("ada", "r1", header()) is None
