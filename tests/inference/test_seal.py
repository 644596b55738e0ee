"""Records as a client gets them over HTTP from a real service, by the form of its reply."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest
from fastapi import FastAPI

from sightline.api import headers as names
from sightline.api.media_types import JSON, PNG, ZIP
from sightline.evidence.canonical_json import from_header, signed_bytes, without_evidence
from sightline.evidence.signing_keys import SigningKey
from sightline.inference.predictor import Rendered
from sightline.inference.seal import Seal
from sightline.inference.settings import InferenceSettings
from tests.evidence.test_canonical_json import make_evidence
from tests.services.gateway.conftest import running
from tests.tiny_service import MakePng

MakeApp = Callable[..., FastAPI]
WaitReady = Callable[[str], None]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    SigningKey.generate().write(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def ask(app: FastAPI, wait_ready: WaitReady, data: bytes, accept: str, **options: str) -> httpx2.Response:
    with running(app) as server:
        wait_ready(server.url)
        reply = httpx2.post(f"{server.url}/v1/tiny-invert", content=data, headers={"Accept": accept}, params=options)
    assert reply.status_code == 200, reply.text
    return reply


def verify(record: dict[str, Any], key: Path) -> None:
    public = SigningKey.read(key).public
    assert record["signing_key"] == public.id
    public.verify(record["signature"], signed_bytes(record))


def test_picture_reply_carries_its_record_in_a_header(
    make_app: MakeApp, wait_ready: WaitReady, make_png: MakePng
) -> None:
    picture = make_png()
    reply = ask(make_app(), wait_ready, picture, PNG, times="2")
    record = from_header(reply.headers[names.EVIDENCE])
    assert record["inputs"] == [
        {"field": "image", "sha256": hashlib.sha256(picture).hexdigest(), "size_bytes": len(picture)}
    ]
    (result,) = record["results"]
    assert (result["sha256"], result["size_bytes"]) == (hashlib.sha256(reply.content).hexdigest(), len(reply.content))
    assert (result["media_type"], result["form"], result["name"]) == (PNG, "bytes", None)
    assert record["parameters"] == {"times": 2, "tags": []}
    assert record["request_id"] == reply.headers[names.REQUEST_ID]
    assert record["networks"] == [{"file": "tiny.onnx", "sha256": record["model"]["weights_sha256"]}]
    assert (record["signature"], record["signing_key"], record["deterministic"]) == (None, None, False)


def test_json_reply_holds_its_record_with_the_digest_of_the_rest(
    make_app: MakeApp, wait_ready: WaitReady, make_png: MakePng
) -> None:
    reply = ask(make_app(), wait_ready, make_png(), JSON)
    body = reply.json()
    (result,) = body["evidence"]["results"]
    form = without_evidence(body)
    assert (result["sha256"], result["size_bytes"]) == (hashlib.sha256(form).hexdigest(), len(form))
    assert result["form"] == "canonical-json"
    assert list(body) == ["width", "height", "tags", "evidence"]
    assert names.EVIDENCE not in reply.headers


@pytest.mark.parametrize("accept", [JSON, PNG])
def test_record_is_signed_with_the_configured_key(
    make_app: MakeApp, wait_ready: WaitReady, make_png: MakePng, key: Path, accept: str
) -> None:
    reply = ask(make_app(evidence_key=key), wait_ready, make_png(), accept)
    verify(reply.json()["evidence"] if accept == JSON else from_header(reply.headers[names.EVIDENCE]), key)


def archive_of(rendered: Rendered) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(rendered.body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_archive_has_a_digest_of_each_file_and_the_record_inside(key: Path) -> None:
    files = {"a.png": Rendered(b"picture", PNG), "record.json": Rendered(b'{"width": 3, "evidence": {}}', JSON)}
    complete = Seal.of(InferenceSettings(evidence_key=key)).complete(
        Rendered.archive(files, headers={"X-Kept": "yes"}), make_evidence()
    )
    found = archive_of(complete)
    record = json.loads(found["record.json"])
    assert (found["a.png"], record["width"], complete.headers["X-Kept"]) == (b"picture", 3, "yes")
    verify(record["evidence"], key)
    digests = {each["name"]: each["sha256"] for each in record["evidence"]["results"]}
    assert digests == {
        "a.png": hashlib.sha256(b"picture").hexdigest(),
        "record.json": hashlib.sha256(b'{"width":3}').hexdigest(),
    }
    assert from_header(complete.headers[names.EVIDENCE]) == record["evidence"]


def test_archives_of_equal_results_have_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    files, evidence = {"a.png": Rendered(b"picture", PNG)}, make_evidence()
    first = Seal().complete(Rendered.archive(files), evidence)
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 1, 1, 0, 0, 0, 0, 1, 0))
    assert Seal().complete(Rendered.archive(files), evidence).body == first.body
    assert first.media_type == ZIP
