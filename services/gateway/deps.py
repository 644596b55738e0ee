from typing import Annotated

from fastapi import Depends, Request

from services.gateway.state import Gateway, gateway_of


def _gateway(request: Request) -> Gateway:
    return gateway_of(request.scope)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
