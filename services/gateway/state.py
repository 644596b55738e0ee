from dataclasses import dataclass
from typing import TypedDict

from aiohttp import ClientSession
from starlette.types import Scope

from services.gateway.catalog import Catalog
from services.gateway.desk import Desk
from services.gateway.gate import Gate
from services.gateway.metrics import GatewayMetrics
from services.gateway.replicas import Fleet
from services.gateway.settings import GatewaySettings
from services.gateway.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the requests share."""

    settings: GatewaySettings
    fleet: Fleet
    catalog: Catalog
    gate: Gate
    metrics: GatewayMetrics
    session: ClientSession
    webhooks: Webhooks
    desk: Desk | None  # None where no Redis is configured


class State(TypedDict):
    """What the lifespan yields."""

    gateway: Gateway
    webhooks: Webhooks  # for the routes that need nothing else


def gateway_of(scope: Scope) -> Gateway:
    gateway: Gateway = scope["state"]["gateway"]
    return gateway
