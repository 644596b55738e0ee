from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.auth.api_keys import Caller, KeyRing
from services.gateway.pages import ASSETS_PATH, CONSOLE_PATH
from sightline.api.problems import Problem
from sightline.http.connections import address_of
from sightline.http.middleware import PROBE_PATHS, add_log_fields
from sightline.http.problem_responses import problem_response

OPEN_PATHS = frozenset((*PROBE_PATHS, "/", CONSOLE_PATH, "/docs", "/openapi.json"))
_CALLER = "sightline.caller"


class AuthenticationMiddleware:
    """Finds out who calls before anything of the request is read; probes, metrics, documents and the
    console's own files are for everybody."""

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self.app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_open(scope["path"]):
            try:
                scope[_CALLER] = self._keys.caller(Headers(scope=scope), address=address_of(scope["client"]))
            except Problem as problem:
                await problem_response(problem, scope["path"], {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
            add_log_fields(scope, owner=scope[_CALLER].owner)
        await self.app(scope, receive, send)


def caller_of(scope: Scope) -> Caller:
    caller: Caller = scope[_CALLER]
    return caller


def fairness_key_of(scope: Scope) -> str:
    """Whose share a request takes; of what is open to everybody, that of its address."""
    caller: Caller = scope.get(_CALLER) or Caller(address=address_of(scope["client"]))
    return caller.share


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith((f"{ASSETS_PATH}/", f"{CONSOLE_PATH}/"))
