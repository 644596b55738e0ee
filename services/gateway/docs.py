"""The API's page: Swagger UI from a copy that is shipped, as a machine without the internet has no CDN."""

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS_PATH = "/docs/assets"


def add_docs(app: FastAPI, *, assets_url: str | None) -> None:
    if assets_url is None:
        folder = Path(str(files("fastapi_standalone_docs"))) / "static" / "swagger"
        app.mount(ASSETS_PATH, StaticFiles(directory=folder))
    base = (assets_url or ASSETS_PATH).rstrip("/")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{base}/swagger-ui-bundle.js",
            swagger_css_url=f"{base}/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
