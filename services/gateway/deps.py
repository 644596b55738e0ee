from typing import Annotated

from fastapi import Depends, Request

from services.gateway.auth.api_keys import Caller
from services.gateway.auth.middleware import caller_of
from services.gateway.jobs.backend import Desk, require_desk
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import Gateway, gateway_of


def _gateway(request: Request) -> Gateway:
    return gateway_of(request.scope)


def _desk(request: Request) -> Desk:
    return require_desk(gateway_of(request.scope).desk)


def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


def _prefix(request: Request) -> str:
    return public_prefix(request.scope)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
DeskDep = Annotated[Desk, Depends(_desk)]
CallerDep = Annotated[Caller, Depends(_caller)]
PrefixDep = Annotated[str, Depends(_prefix)]
