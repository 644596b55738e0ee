from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from services.gateway.deps import GatewayDep
from services.gateway.settings import GatewaySettings
from services.gateway.state import gateway_of
from services.gateway.upstream.replicas import Replica
from sightline.api.problems import Code, Problem
from sightline.http.fleet_credential import is_accepted

TARGETS_PATH = "/metrics/targets"


def _require_credential(request: Request) -> None:
    """Raises Problem NOT_FOUND where no credential is configured, UNAUTHORIZED where it is not presented."""
    settings: GatewaySettings = gateway_of(request.scope).settings
    if not settings.metrics_credentials:
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.")
    presented = request.headers.getlist("authorization")
    scheme, _, token = presented[0].partition(" ") if len(presented) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not is_accepted(token.strip().encode("latin-1"), settings.metrics_credentials):
        detail = (
            "The addresses of replicas are for Prometheus: send the metrics credential as `Authorization: Bearer …`."
        )
        raise Problem(Code.UNAUTHORIZED, detail)


router = APIRouter(dependencies=[Depends(_require_credential)])


class TargetGroup(BaseModel):
    """As Prometheus' HTTP service discovery reads it."""

    targets: list[str]
    labels: dict[str, str]


@router.get(TARGETS_PATH, include_in_schema=False)
async def list_targets(gateway: GatewayDep) -> list[TargetGroup]:
    """Every replica that the gateway knows of, ready or not: what it forwards to is what is to be watched."""
    return [_group(replica) for replica in gateway.fleet]


def _group(replica: Replica) -> TargetGroup:
    url = urlsplit(replica.url)
    return TargetGroup(
        targets=[url.netloc], labels={"service": replica.model.replace("_", "-"), "__scheme__": url.scheme}
    )
