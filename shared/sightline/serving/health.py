"""Liveness and readiness of a service; neither ever waits behind work."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from sightline.api.evidence import DetectorIdentity
from sightline.api.problems import ProblemDetails
from sightline.serving.service import ModelService, ServiceState


class ServiceLiveness(BaseModel):
    """The event loop runs."""

    status: Literal["live"] = "live"


class ServiceReadiness(BaseModel):
    """The loaded model, its weights and its provider, and whether the service takes jobs."""

    status: Literal["ready"] = "ready"
    state: ServiceState
    model: str
    version: str
    weights_sha256: str
    contract: str
    detector: DetectorIdentity | None = Field(description="The detector that replaces the model's own")
    weights_verified: bool = Field(
        description="Whether the files were compared with the SHA-256 in their contract; false where it has none"
    )
    stronger_weights: str | None = Field(
        default=None, description="An entry of the catalogue with a better measured quality, as a sentence"
    )
    provider: str
    precision: str
    takes_jobs: bool = Field(description="Whether it works on queued jobs")
    jobs_detail: str | None = Field(default=None, description="Why it takes no jobs, where it should")
    estimated_queue_ms: float = Field(ge=0, description="Estimated time until everything queued and running is done")


def health_router(service: ModelService) -> APIRouter:
    router = APIRouter(tags=["health"])
    advice = service.stronger_weights

    @router.get("/livez")
    async def live() -> ServiceLiveness:
        return ServiceLiveness()

    @router.get("/readyz", responses={503: {"model": ProblemDetails}})
    async def ready() -> ServiceReadiness:
        service.require_ready()
        session, identity, worker = service.session, service.identity, service.worker_health
        return ServiceReadiness(
            state=service.state,
            model=identity.name,
            version=identity.version,
            weights_sha256=identity.weights_sha256,
            contract=identity.contract,
            detector=identity.detector,
            weights_verified=service.predictor.weights.verified,
            stronger_weights=advice,
            provider=session.provider,
            precision=session.precision,
            takes_jobs=worker is not None and worker.trouble is None,
            jobs_detail=None if worker is None else worker.trouble,
            estimated_queue_ms=round(service.batcher.backlog_s * 1e3, 1),
        )

    return router
