"""The console: a page to try the fleet with, which asks the same API as everybody."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.gateway.requests.forwarded_headers import public_prefix

CONSOLE_PATH = "/console"
HEADERS = {
    # Nothing but the gateway's own files and answers: pictures are shown out of blobs, and no page may frame this one.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_console(app: FastAPI) -> None:
    app.mount(CONSOLE_PATH, ConsoleFiles(directory=Path(__file__).with_name("console"), html=True))

    @app.get("/", include_in_schema=False)
    @app.get(CONSOLE_PATH, include_in_schema=False)
    async def front_door(request: Request) -> RedirectResponse:
        prefix = public_prefix(request.scope)
        # Relative where no prefix is known: a proxy may add one without saying so.
        return RedirectResponse(f"{prefix}{CONSOLE_PATH}/" if prefix else f"{CONSOLE_PATH.removeprefix('/')}/")


class ConsoleFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):
            # From `/console/.` and the like, to an absolute address that knows no prefix.
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return response

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response
