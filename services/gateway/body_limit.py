from collections.abc import Collection
from http import HTTPMethod

from starlette.types import ASGIApp, Receive, Scope, Send

from sightline.serving.middleware import BodyLimitMiddleware


class JobBodyLimitMiddleware:
    """Lets larger bodies through to the routes whose requests may become jobs than to all others."""

    def __init__(self, app: ASGIApp, *, job_routes: Collection[str], max_bytes: int, max_job_bytes: int) -> None:
        self._job_routes = frozenset(job_routes)
        self._usual = BodyLimitMiddleware(app, max_bytes)
        self._larger = BodyLimitMiddleware(app, max_job_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limited = self._larger if self._may_be_job(scope) else self._usual
        await limited(scope, receive, send)

    def _may_be_job(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == HTTPMethod.POST and scope["path"] in self._job_routes
