"""The web pages of the gateway: the console, and Swagger UI from a shipped copy that needs no internet access."""

import base64
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.gateway.requests.forwarded_headers import public_prefix

DOCS_PATH = "/docs"
ASSETS_PATH = f"{DOCS_PATH}/assets"
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
CONSOLE_PATH = "/console"
CONSOLE_HEADERS = {
    # Only the gateway's own files and replies; results are shown from blob URLs, and no other page may frame this one.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_docs(app: FastAPI, *, assets_url: str | None) -> None:
    """Adds Swagger UI, with its files from `assets_url` or, without one, from the shipped copy."""
    if assets_url is None:
        folder = Path(str(files("fastapi_standalone_docs"))) / "static" / "swagger"
        app.mount(ASSETS_PATH, StaticFiles(directory=folder))
    # Relative to the page, as a proxy may serve it under a prefix.
    base = (assets_url or ASSETS_PATH.removeprefix("/")).rstrip("/")
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url=f"{base}/swagger-ui-bundle.js",
        swagger_css_url=f"{base}/swagger-ui.css",
        swagger_favicon_url="data:,",  # FastAPI's default is on the internet
    )
    page.headers["Content-Security-Policy"] = _policy(bytes(page.body).decode(), assets_url)

    @app.get(DOCS_PATH, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page


def _policy(page: str, assets_url: str | None) -> str:
    """Returns a policy that allows the shipped scripts, the page's inline script by its digest, and this gateway."""
    scripts = " ".join(f"'sha256-{_sha256_base64(script)}'" for script in _INLINE_SCRIPT.findall(page))
    origin = f" {_origin(assets_url)}" if assets_url else ""
    return (
        f"default-src 'none'; script-src 'self'{origin} {scripts}; "
        # Swagger UI sets inline styles and has its icons in data URLs.
        f"style-src 'self'{origin} 'unsafe-inline'; img-src 'self'{origin} data: blob:; font-src 'self'{origin} data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _sha256_base64(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _origin(url: str) -> str:
    components = urlsplit(url)
    return f"{components.scheme}://{components.netloc}" if components.netloc else "'self'"


def add_console(app: FastAPI) -> None:
    """Adds the console, and redirects to it from the root."""
    app.mount(CONSOLE_PATH, ConsoleFiles(directory=Path(__file__).with_name("console"), html=True))

    @app.get("/", include_in_schema=False)
    @app.get(CONSOLE_PATH, include_in_schema=False)
    async def redirect_to_console(request: Request) -> RedirectResponse:
        prefix = public_prefix(request.scope)
        # Relative without a known prefix: a proxy may add one and send no header for it.
        return RedirectResponse(f"{prefix}{CONSOLE_PATH}/" if prefix else f"{CONSOLE_PATH.removeprefix('/')}/")


class ConsoleFiles(StaticFiles):
    """The console's static files, with a content security policy."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, RedirectResponse):
            # Starlette redirects `/console/.` and the like to an absolute address without the prefix.
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return response

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(CONSOLE_HEADERS)
        return response
