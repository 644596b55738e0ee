"""The web service around one model."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from sightline import __version__
from sightline.http.fleet_credential import FleetCredentialMiddleware
from sightline.http.metrics import HttpMetrics, add_metrics_route, create_registry
from sightline.http.middleware import TELEMETRY, install_middleware
from sightline.http.openapi import document_components
from sightline.http.problem_responses import install_problem_handlers
from sightline.inference.metrics import ServiceMetrics
from sightline.inference.predictor import AnyPredictor
from sightline.jobs.settings import JobSettings
from sightline.serving.card import card_router
from sightline.serving.health import health_router
from sightline.serving.predict_route import predict_router
from sightline.serving.service import ModelService
from sightline.serving.settings import ServiceSettings
from sightline.serving.v2.routes import v2_router
from sightline.serving.v2.schemas import InferRequest
from sightline.serving.worker.setup import job_worker


def stop_process() -> None:
    """Ends this process by SIGTERM, so that the server closes its connections first."""
    os.kill(os.getpid(), signal.SIGTERM)


def app_factory(predictor: type[AnyPredictor]) -> Callable[[], FastAPI]:
    """The application factory of a model for `uvicorn --factory`, with settings from the environment."""

    def create() -> FastAPI:
        settings = ServiceSettings()
        return create_app(predictor.load(settings), settings)

    return create


def create_app(
    predictor: AnyPredictor,
    settings: ServiceSettings,
    *,
    jobs: JobSettings | None = None,
    registry: CollectorRegistry | None = None,
    on_fatal: Callable[[], None] = stop_process,
) -> FastAPI:
    """The web application of one model.

    jobs: read from the environment if not given; on_fatal: called when the model cannot be loaded.
    """
    jobs = jobs or JobSettings()
    registry = registry or create_registry()
    service = ModelService(predictor, settings, ServiceMetrics(registry), on_fatal)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, object]]:
        async with service.running(), job_worker(service, jobs, registry):
            yield {"service": service, "registry": registry}

    app = FastAPI(
        title=f"Sightline: {predictor.declaration.title}",
        description=predictor.declaration.description,
        version=__version__,
        lifespan=lifespan,
        telemetry=TELEMETRY,
        # A redirect would name this service's own address to a client of the gateway.
        redirect_slashes=False,
    )
    for router in (predict_router(service), card_router(service), health_router(service), v2_router(service)):
        app.include_router(router)
    record = [predictor.declaration.record] if predictor.declaration.record else []
    document_components(app, *record, requests=[InferRequest])
    add_metrics_route(app, registry)
    install_problem_handlers(app)
    install_middleware(app, HttpMetrics(registry), max_bytes=settings.max_bytes, guards=_guards(settings))
    return app


def _guards(settings: ServiceSettings) -> list[Middleware]:
    credentials = settings.fleet_credentials
    return [Middleware(FleetCredentialMiddleware, credentials=credentials)] if credentials else []
