from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IS_HEAD = "sightline.is_head"


class HeadMiddleware:
    """Answers HEAD as GET without the body, because FastAPI's routes answer it with 405."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        # A copy: the server looks into its own scope for whether a body may follow.
        as_get = {**scope, "method": "GET", _IS_HEAD: True}
        try:
            await self.app(as_get, receive, partial(_send_without_body, send))
        finally:
            # The access log names the route.
            scope.update({"route": as_get["route"]} if "route" in as_get else {})


def is_head(scope: Scope) -> bool:
    """Whether the client asked for the headers alone, which routes with long or endless bodies need to know."""
    return scope["method"] == "HEAD" or bool(scope.get(_IS_HEAD))


async def _send_without_body(send: Send, message: Message) -> None:
    await send({**message, "body": b""} if message["type"] == "http.response.body" else message)
