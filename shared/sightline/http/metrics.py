"""Prometheus metrics of every HTTP process, in base units."""

import platform

from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry, Histogram, Info, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from sightline import __version__
from sightline.runtime.tracing import DURATION_BUCKETS_S


def create_registry() -> CollectorRegistry:
    """Returns a registry with the metrics and facts of this process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Info("sightline_build", "The software that runs", registry=registry)
    build.info({"version": __version__, "python": platform.python_version()})
    return registry


class HttpMetrics:
    """The metrics of every HTTP process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.request_duration_s = Histogram(
            "sightline_http_request_duration_seconds",
            "From the first byte of a request to the last of its reply",
            ["method", "route", "status"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )


def add_metrics_route(app: FastAPI, registry: CollectorRegistry) -> None:
    @app.get("/metrics", include_in_schema=False)
    async def expose(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})
