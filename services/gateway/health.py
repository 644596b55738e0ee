from fastapi import APIRouter, Response
from pydantic import BaseModel

from services.gateway.deps import GatewayDep

router = APIRouter(tags=["health"])


class Liveness(BaseModel):
    live: bool = True


class Readiness(BaseModel):
    """Ready when every configured model that may not rest has a ready replica."""

    ready: bool
    models: dict[str, bool]


@router.get("/livez", summary="Whether the gateway runs")
async def livez() -> Liveness:
    return Liveness()


@router.get("/readyz", summary="Whether every model can be reached", responses={503: {"model": Readiness}})
async def readyz(gateway: GatewayDep, response: Response) -> Readiness:
    fleet = gateway.fleet
    if not fleet.ready:
        response.status_code = 503
    return Readiness(ready=fleet.ready, models={model: bool(fleet.ready_replicas(model)) for model in fleet.models})
