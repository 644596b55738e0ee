"""Problem details (RFC 9457) for every error, with the request's id."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.api.problems import MEDIA_TYPE, Code, Problem
from sightline.runtime.errors import describe_error, is_shortage

log = structlog.get_logger()

SHORTAGE_RETRY_AFTER_S = 5.0

MAX_FAULTS = 20
MAX_FAULT_CHARACTERS = 300

CODES: Mapping[int, Code] = {
    HTTPStatus.NOT_FOUND: Code.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: Code.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_ACCEPTABLE: Code.NOT_ACCEPTABLE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Code.TOO_MANY_BYTES,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Code.UNSUPPORTED_FORMAT,
    HTTPStatus.SERVICE_UNAVAILABLE: Code.NOT_READY,
}


def install_problem_handlers(app: FastAPI) -> None:
    """Adds the handlers; call it before `install_middleware`, so that error replies carry the request's id."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_middleware(UnhandledErrorMiddleware)


def problem_response(problem: Problem, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns the reply for a problem of a request to `path`."""
    body = problem.details(current_request_id()).model_dump(mode="json")
    if path.startswith("/v2"):
        # Triton's and KServe's clients look for this member, and fail on a body without it.
        body["error"] = problem.detail
    response = JSONResponse(body, problem.status, headers, media_type=MEDIA_TYPE)
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(problem.retry_after_s)))
    return response


def current_request_id() -> str:
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))


def invalid_fields(error: ValidationError | RequestValidationError) -> list[dict[str, str]]:
    """Returns which fields are invalid and why, without their values; at most `MAX_FAULTS`."""
    if isinstance(error, ValidationError):
        faults: Sequence[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    else:
        faults = error.errors()
    return [
        {"field": _field_name(fault["loc"]), "message": str(fault["msg"])[:MAX_FAULT_CHARACTERS]}
        for fault in faults[:MAX_FAULTS]
    ]


def _field_name(location: Sequence[int | str]) -> str:
    # A field's name may be one that was sent.
    return ".".join(str(part) for part in location)[:MAX_FAULT_CHARACTERS]


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error, request.url.path)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = Problem(
        Code.INVALID_REQUEST,
        "Some fields of the request are invalid; `errors` lists them.",
        errors=invalid_fields(error),
    )
    return problem_response(problem, request.url.path)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    fallback = Code.INVALID_REQUEST if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else Code.INTERNAL
    problem = Problem(CODES.get(error.status_code, fallback), _sentence(error))
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return problem_response(problem, request.url.path, headers)


def _allowed_methods(request: Request) -> list[str]:
    """Returns the methods of all routes of this path; the router itself lists those of the first alone."""
    allowed = [
        method
        for method in HTTPMethod
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    ]
    return sorted({*allowed, HTTPMethod.HEAD} if HTTPMethod.GET in allowed else allowed)


def _sentence(error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address."
    return error.detail if error.detail.endswith(".") else f"{error.detail}."


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return problem_response(Problem(Code.CANCELLED, "The client closed the connection."), request.url.path)


class UnhandledErrorMiddleware:
    """Replies 500 to unhandled exceptions, and logs where they were raised.

    The text of the exception goes neither into the reply nor into the log, as it may quote an upload.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            log.error("unhandled_error", **describe_error(error))
            if started:
                raise
            await problem_response(_unhandled(error), scope["path"])(scope, receive, send)


def _unhandled(error: Exception) -> Problem:
    if is_shortage(error):
        detail = "The service is out of memory, threads or open files now; try again shortly."
        return Problem(Code.OVERLOADED, detail, retry_after_s=SHORTAGE_RETRY_AFTER_S)
    return Problem(Code.INTERNAL, "The service failed on this request.")
