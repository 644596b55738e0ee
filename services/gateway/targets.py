from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import BaseModel

from services.gateway.deps import GatewayDep
from services.gateway.replicas import Replica

router = APIRouter()


class TargetGroup(BaseModel):
    """As Prometheus' HTTP service discovery reads it."""

    targets: list[str]
    labels: dict[str, str]


@router.get("/metrics/targets", include_in_schema=False)
async def list_targets(gateway: GatewayDep) -> list[TargetGroup]:
    """Every replica that the gateway knows of, ready or not: what it forwards to is what is to be watched."""
    return [_group(replica) for replica in gateway.fleet]


def _group(replica: Replica) -> TargetGroup:
    url = urlsplit(replica.url)
    return TargetGroup(
        targets=[url.netloc], labels={"service": replica.model.replace("_", "-"), "__scheme__": url.scheme}
    )
