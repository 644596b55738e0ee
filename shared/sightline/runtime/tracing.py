"""OpenTelemetry traces, exported where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector.

A request is one trace, from the gateway through the queue to the session. FastAPI makes the spans of HTTP; this module
makes those in between. Spans carry names of routes, counts and durations: no pixels, no file names, no query strings.
"""

import os
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind

from sightline.runtime.deployables import install_command

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
NANOSECONDS = 1e9
TRACEPARENT = "traceparent"
DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Of histograms of durations, the same in gateway and services, so that dashboards can compare them."""

tracer = trace.get_tracer("sightline")


def configure_tracing(service: str) -> None:
    """Starts the export of traces, once in a process; does nothing where no collector is named.

    Raises RuntimeError where a collector is named and the extra `trace` is not installed.
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise RuntimeError(f"Traces need an extra: {install_command('trace')}") from error

    class Discreet(SpanProcessor):
        """Hides what users typed behind the question mark."""

        def on_start(self, span: Any, parent_context: Any = None) -> None:
            if "url.query" in (span.attributes or {}):
                span.set_attribute("url.query", "REDACTED")

    provider = TracerProvider(resource=Resource.create({"service.name": f"sightline-{service}"}))
    provider.add_span_processor(Discreet())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, **facts: str | int | float) -> Iterator[Span]:
    with tracer.start_as_current_span(name, attributes=_named(facts)) as current:
        yield current


@contextmanager
def job_span(model: str, traceparent: str | None, **facts: str | int) -> Iterator[Span]:
    """Makes a span of the work on a job, in the trace of the request that submitted it."""
    parent = propagate.extract({TRACEPARENT: traceparent} if traceparent else {})
    name = f"job {model}"
    with tracer.start_as_current_span(name, parent, SpanKind.CONSUMER, attributes=_named(facts)) as current:
        yield current


def record_span(name: str, ran_s: float, **facts: str | int) -> None:
    """Records a span that ends now and lasted `ran_s`."""
    now = time.time_ns()
    ended = tracer.start_span(name, start_time=now - int(ran_s * NANOSECONDS), attributes=_named(facts))
    ended.end(now)


def inject(headers: MutableMapping[str, str]) -> None:
    """Adds the headers of the current trace; without one, the headers stay as the client sent them."""
    propagate.inject(headers)


def current_traceparent() -> str | None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get(TRACEPARENT)


def exemplar() -> dict[str, str] | None:
    """Returns the trace id as a Prometheus exemplar, which leads from a slow bucket to its trace; None without one."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None


def _named(facts: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    return {f"sightline.{name}": value for name, value in facts.items()}
