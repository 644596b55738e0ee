from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from services.gateway.deps import GatewayDep
from services.gateway.jobs.backend import refusal_of

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    live: bool = True


class Readiness(BaseModel):
    """Ready when every configured model that may not rest has a ready replica."""

    ready: bool
    models: dict[str, bool]
    accepts_jobs: bool = Field(description="Small requests are answered all the same")
    jobs_detail: str | None = Field(default=None, description="Why no jobs are accepted, where they should be")


@router.get("/livez", summary="Whether the gateway runs")
async def livez() -> Liveness:
    return Liveness()


@router.get("/readyz", summary="Whether every model can be reached", responses={503: {"model": Readiness}})
async def readyz(gateway: GatewayDep, response: Response) -> Readiness:
    fleet = gateway.fleet
    if not fleet.ready:
        response.status_code = 503
    refusal = refusal_of(gateway.job_backend) if gateway.job_backend else None
    return Readiness(
        ready=fleet.ready,
        models={model: bool(fleet.ready_replicas(model)) for model in fleet.models},
        accepts_jobs=gateway.job_backend is not None and refusal is None,
        jobs_detail=refusal,
    )
