from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.api import headers as names

# Pictures, results and jobs are the caller's: neither a browser's disk nor a shared cache may keep them.
_UNCACHED = ("/v1/", "/v2/")


class ResponseHeadersMiddleware:
    """Has browsers take every reply for what its type says, and keep none of the API's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        uncached = scope["path"].startswith(_UNCACHED)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if uncached:
                    headers["Cache-Control"] = "no-store"
                del headers[names.FLEET_CREDENTIAL]
            await send(message)

        await self.app(scope, receive, send_guarded)
