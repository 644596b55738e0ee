"""One trace from the gateway through the queue to the session, as a collector receives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import onnx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sightline.cli.fleet import free_port
from tests.redis_server import RedisServer
from tests.services.gateway.conftest import encode_png
from tests.tiny_service import CONTRACT, inverting_graph

ROOT = Path(__file__).parents[3]
LIMIT_S = 60.0
FACTORY = """
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings
from sightline.inference.weights import load_weights
from tests.tiny_service import InvertingPredictor

def create():
    settings = ServiceSettings()
    weights = load_weights(settings.weights, settings.weights.with_suffix(".toml"), shipped=True)
    return create_app(InvertingPredictor(weights, step_s=0.0), settings)
"""
PNG = encode_png(8, 8)
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@dataclass(slots=True)
class Collector:
    url: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)

    def of(self, trace_id: str) -> list[tuple[str, Span]]:
        """Spans with the names of their services."""
        return [(service, span) for service, span in self.spans if span.trace_id.hex() == trace_id]

    def take(self, body: bytes) -> None:
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {pair.key: pair.value.string_value for pair in part.resource.attributes}["service.name"]
            self.spans += [(service, span) for scope in part.scope_spans for span in scope.spans]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True, slots=True)
class Traced:
    gateway: str
    service: str


@pytest.fixture
def traced(collector: Collector, tmp_path: Path, redis_server: RedisServer) -> Iterator[Traced]:
    weights = tmp_path / "tiny.onnx"
    onnx.save(inverting_graph(), weights)
    weights.with_suffix(".toml").write_text(CONTRACT)
    (tmp_path / "tiny_factory.py").write_text(FACTORY)
    service, gateway = free_port(), free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "shared", ROOT, tmp_path))),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "SIGHTLINE_REDIS_URL": redis_server.url,
        "SIGHTLINE_BLOBS_URL": (tmp_path / "blobs").as_uri(),
        "SIGHTLINE_PROVIDERS": "cpu",
        "SIGHTLINE_WEIGHTS": str(weights),
        "SIGHTLINE_INTRA_OP_THREADS": "1",
        "SIGHTLINE_UPSTREAMS": json.dumps({"tiny_invert": [f"http://127.0.0.1:{service}"]}),
    }
    with ExitStack() as running:
        programs = (
            ("sightline.serving", "tiny_factory:create", service),
            ("sightline.http", "services.gateway.app:create", gateway),
        )
        for package, factory, port in programs:
            command = [sys.executable, "-m", package, factory]
            settings = {**environment, "SIGHTLINE_PORT": str(port)}
            process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
            running.callback(process.wait)
            running.callback(process.send_signal, signal.SIGKILL)
        addresses = Traced(f"http://127.0.0.1:{gateway}", f"http://127.0.0.1:{service}")
        wait_until(lambda: is_ready(addresses.gateway))
        yield addresses


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.05)


def names(spans: list[tuple[str, Span]]) -> set[tuple[str, str]]:
    return {(service, span.name) for service, span in spans}


def has_parents(spans: list[tuple[str, Span]]) -> bool:
    """Returns True once the spans of all processes have arrived, except the client's own."""
    known = {span.span_id for _, span in spans} | {bytes.fromhex(TRACEPARENT.split("-")[2])}
    return all(span.parent_span_id in known for _, span in spans)


def test_request_and_its_job_belong_to_the_clients_trace(traced: Traced, collector: Collector) -> None:
    address, headers = f"{traced.gateway}/v1/tiny-invert", {"traceparent": TRACEPARENT}
    secret = "a-name-nobody-may-see.png"
    files = {"image": (secret, PNG, "image/png")}
    assert httpx2.post(address, files=files, headers=headers).status_code == 200
    assert httpx2.post(f"{address}?note={secret}", files=files, headers=headers).status_code == 400
    later = httpx2.post(address, files=files, headers={**headers, "Prefer": "respond-async"})
    job = traced.gateway + later.headers["location"]
    wait_until(lambda: bool(httpx2.get(job).json()["state"] == "succeeded"))
    expected = {
        ("sightline-gateway", "POST /v1/tiny-invert"),
        ("sightline-tiny_factory", "POST /v1/tiny-invert"),
        ("sightline-tiny_factory", "job tiny_invert"),
        ("sightline-tiny_factory", "round"),
        ("sightline-tiny_factory", "session"),
        ("sightline-tiny_factory", "decode"),
        ("sightline-tiny_factory", "encode"),
    }
    wait_until(lambda: expected <= names(collector.of(TRACE_ID)) and has_parents(collector.of(TRACE_ID)))
    spans = collector.of(TRACE_ID)
    assert sum(span.name == "session" for _, span in spans) == 2
    by_id = {span.span_id: span for _, span in spans}
    jobs = [span for _, span in spans if span.name == "job tiny_invert"]
    assert [by_id[span.parent_span_id].name for span in jobs] == ["POST /v1/tiny-invert"]
    assert secret.encode() not in b"".join(span.SerializeToString() for _, span in collector.spans)
    assert not [span for _, span in collector.spans if "readyz" in span.name or "metrics" in span.name]


def test_histogram_bucket_has_an_exemplar_with_the_trace(traced: Traced) -> None:
    headers = {"traceparent": TRACEPARENT}
    reply = httpx2.post(f"{traced.gateway}/v1/tiny-invert", files={"image": PNG}, headers=headers)
    assert reply.status_code == 200
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    for url, metric in (
        (traced.gateway, "sightline_gateway_upstream_duration_seconds_bucket"),
        (traced.service, "sightline_stage_duration_seconds_bucket"),
    ):
        lines = [line for line in httpx2.get(f"{url}/metrics", headers=accept).text.splitlines() if "# {" in line]
        assert [line for line in lines if line.startswith(metric) and f'trace_id="{TRACE_ID}"' in line]


def test_collector_without_the_trace_extra_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.runtime.tracing import configure_tracing

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(RuntimeError, match=r"sightline\[trace\]"):
        configure_tracing("gateway")
