"""Both clients through a faulty proxy, with a path prefix, to the real services, gateway, Redis and workers."""

import hashlib
import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.client import Client, Overloaded, Unreachable
from tests.client.conftest import Call
from tests.client.faulty_proxy import PASS, Fault, FaultyProxy, faulty_proxy

HTML = {"Content-Type": "text/html"}
AS_JOB = {"Prefer": "respond-async"}
SEEDS = itertools.count(100)


def photo(seed: int, side: int = 64) -> np.ndarray:
    """Returns noise: each seed is a new picture, for which the server has no earlier result."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


@pytest.fixture
def proxy(address: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(address, "/vision/api") as running:
        yield running
        assert all(each.path.startswith("/vision/api/v1/") for each in running.passed)
        assert not running.faults, "these faults were not met"


@pytest.fixture(scope="module")
def expected(address: str) -> dict[str, float]:
    with Client(address) as client:
        return dict(client.screen(photo(0)).probabilities)


@pytest.mark.parametrize(
    ("faults", "replies"),
    [
        ([], "200"),
        ([Fault(reset_after=0)], "- 200K"),
        ([Fault(reset_after=5000), Fault(reset_after=0), Fault(reset_after=9000)], "- -K -K 200K"),
        ([Fault(lose_reply=True)], "- 200K"),
        ([Fault(lose_reply=True), Fault(lose_reply=True)], "- -K 200K"),
        ([Fault(cut_after=0)], "200 200K"),
        ([Fault(cut_after=100), Fault(cut_after=1)], "200 200K 200K"),
        ([Fault(status=503, headers=HTML, body=b"<h1>busy</h1>")], "503 200K"),
        ([Fault(status=503, headers={**HTML, "Retry-After": "1"}), Fault(status=429)], "503 429K 200K"),
        ([Fault(status=502), Fault(status=504), Fault(status=408)], "502 504K 408K 200K"),
        ([Fault(pause_s=0.02, block_bytes=40)], "200"),
        ([Fault(add_headers=AS_JOB, lose_reply=True)], "- 200K"),
    ],
)
def test_result_is_the_same_after_faults(
    proxy: FaultyProxy, call: Call, expected: dict[str, float], faults: list[Fault], replies: str
) -> None:
    proxy.faults = [*faults]
    assert call(proxy.url, "screen", photo(0)).probabilities == expected
    assert replies_of(proxy) == replies


def replies_of(proxy: FaultyProxy) -> str:
    """Returns the statuses of the replies, `-` for none, with a K for each request with an idempotency key."""
    return " ".join(f"{each.status or '-'}{'K' if each.idempotency_key else ''}" for each in proxy.passed)


def test_repeated_attempts_have_one_key(proxy: FaultyProxy, call: Call) -> None:
    proxy.faults = [Fault(status=503), Fault(lose_reply=True), Fault(cut_after=9)]
    call(proxy.url, "screen", photo(1))
    first, *others = [each.idempotency_key for each in proxy.passed]
    assert first is None
    assert len(others) == 3
    assert len(set(others)) == 1


def test_job_is_followed_through_faults(proxy: FaultyProxy, call: Call, expected: dict[str, float]) -> None:
    broken = [Fault(lose_reply=True), Fault(status=503), Fault(cut_after=20), Fault(reset_after=0)]
    proxy.faults = [Fault(add_headers=AS_JOB), *broken]
    states: list[str] = []
    result = call(proxy.url, "screen", photo(0), progress=lambda job: states.append(job.state))
    assert result.probabilities == expected
    assert proxy.passed[0].status == 202
    assert proxy.passed[-1].path.endswith("/result")
    assert states[-1] == "succeeded"


def test_submission_whose_replies_are_lost_makes_one_job(address: str, proxy: FaultyProxy, call: Call) -> None:
    proxy.faults = [Fault(lose_reply=True), Fault(cut_after=30), Fault(lose_reply=True)]
    with Client(address) as client:
        before = number_of_jobs(client)
        job = call(proxy.url, "screen", photo(2), wait=False)
        assert number_of_jobs(client) == before + 1
        assert client.job(job.id).id == job.id


def number_of_jobs(client: Client) -> int:
    return len(client._http.get(f"{client.address}/v1/jobs?limit=200").json()["jobs"])


@pytest.mark.parametrize("cuts", [(0,), (30,), (150, 151), (200, 1, 350)])
def test_event_stream_that_breaks_loses_and_repeats_no_event(
    address: str, proxy: FaultyProxy, call: Call, cuts: tuple[int, ...]
) -> None:
    with Client(address) as client:
        job = client.screen(photo(next(SEEDS)), wait=False)
        job.result()
        complete = [(event.id, event.name) for event in client.events(job.id)]
    assert complete[-1][1] == "succeeded"
    assert len(complete) > 2
    proxy.faults = [Fault(cut_after=cut) for cut in cuts]
    assert [(event.id, event.name) for event in call(proxy.url, "events", job.id)] == complete


def test_event_stream_survives_refusals(address: str, proxy: FaultyProxy, call: Call) -> None:
    with Client(address) as client:
        job = client.screen(photo(3), wait=False)
    proxy.faults = [
        Fault(reset_after=0),
        Fault(status=503, headers={"Retry-After": "1"}),
        Fault(status=200, headers=HTML, body=b"<h1>log in</h1>"),
        Fault(pause_s=0.005, block_bytes=1),
    ]
    assert [event.name for event in call(proxy.url, "events", job.id)][-1] == "succeeded"


def test_large_upload_is_sent_again_as_a_whole(proxy: FaultyProxy, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(photo(4, side=900)).save(path)
    assert path.stat().st_size > 2 << 20
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for picture in (path, io.BytesIO(path.read_bytes())):
        proxy.faults = [Fault(reset_after=1 << 20), Fault(lose_reply=True)]
        assert call(proxy.url, "screen", picture).sha256 == digest


def test_filled_photo_is_the_same_to_the_bit(address: str, proxy: FaultyProxy, call: Call) -> None:
    picture, mask = photo(5), np.zeros((64, 64), bool)
    mask[20:30, 20:40] = True
    proxy.faults = [Fault(cut_after=2000), Fault(pause_s=0.02, block_bytes=1000)]
    result = call(proxy.url, "inpaint", picture, mask)
    assert np.array_equal(result.array[~mask], picture[~mask])
    with Client(address) as client:
        assert np.array_equal(result.array, client.inpaint(picture, mask).array)


def test_silence_of_the_server_ends_with_the_timeout_and_is_retried(proxy: FaultyProxy, call: Call) -> None:
    proxy.faults = [Fault(pause_s=1.5), PASS]
    assert call(proxy.url, "models", client={"timeout_s": 0.5})
    proxy.faults = [Fault(pause_s=1.5)]
    with pytest.raises(Unreachable, match="did not answer: it accepted the connection, but the reply timed out"):
        call(proxy.url, "models", client={"timeout_s": 0.5, "retry_s": 0})


def test_server_that_stays_busy_is_given_up(proxy: FaultyProxy, call: Call) -> None:
    proxy.faults = [Fault(status=503, headers={"Retry-After": "1"}), Fault(status=503, headers={"Retry-After": "60"})]
    with pytest.raises(Overloaded, match=r"Try again in 60 s\.") as caught:
        call(proxy.url, "screen", photo(6), client={"retry_s": 5})
    assert caught.value.status == 503


def test_batch_loses_no_picture_through_faults(proxy: FaultyProxy, call: Call, tmp_path: Path) -> None:
    chosen = random.Random(0)
    kinds = (PASS, Fault(reset_after=0), Fault(lose_reply=True), Fault(cut_after=50), Fault(status=503))
    proxy.faults = chosen.choices(kinds, k=12)
    missing = tmp_path / "missing.jpg"
    pictures: list[Any] = [*(photo(seed) for seed in range(10, 18)), missing, b"broken"]
    with Client(proxy.url) as client:
        outcomes = list(client.map(client.screen, pictures, concurrency=3))
    assert len([each for each in outcomes if each.result]) == 8
    assert {type(each.error).__name__ for each in outcomes if each.error} == {"FileNotFoundError", "Unreadable"}
