from typing import Annotated

from fastapi import Depends, Request

from services.gateway.auth.api_keys import Caller
from services.gateway.auth.middleware import caller_of
from services.gateway.jobs.backend import JobBackend, require_job_backend
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import Gateway, gateway_of


def _gateway(request: Request) -> Gateway:
    return gateway_of(request.scope)


def _job_backend(request: Request) -> JobBackend:
    return require_job_backend(gateway_of(request.scope).job_backend)


def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


def _prefix(request: Request) -> str:
    return public_prefix(request.scope)


GatewayDep = Annotated[Gateway, Depends(_gateway)]
JobBackendDep = Annotated[JobBackend, Depends(_job_backend)]
CallerDep = Annotated[Caller, Depends(_caller)]
PrefixDep = Annotated[str, Depends(_prefix)]
