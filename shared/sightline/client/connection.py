"""The connection of a client: base URL, key, and the translation of transport errors."""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import httpx2

from sightline.client.errors import NotSightline, Unreachable
from sightline.client.operations import HttpRequest
from sightline.client.results import HttpReply

DEFAULT_URL = "http://127.0.0.1:8080"
CONNECT_TIMEOUT_S = 5.0
DEFAULT_CONNECTIONS = 100
MAX_JOINED_BYTES = 1 << 20
"""Length up to which a form is sent in one piece. Piece by piece, a photo needs four more writes, which cost a fifth of
the processor time of a request; a longer form would be in memory twice."""
LOOPBACK_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))
_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.InvalidURL, UnicodeError)
_NOT_HTTP = re.compile("illegal (status|request) line")  # of h11; a connection that breaks off has the same class
_PASTED_PATHS = re.compile(r"/(?:console|docs|v1|openapi\.json)?/*$")


def parse_base_url(text: str) -> httpx2.URL:
    """Parses a server's address, which may have a path prefix; raises ValueError with the reason if it is not valid."""
    text = text.strip()
    example = "write it like http://localhost:8080"
    if not re.match(r"https?://", text, re.IGNORECASE):
        raise ValueError(f"{text!r} does not begin with http:// or https://; {example}")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise ValueError(f"{text!r} is no valid address ({error}); {example}") from None
    if not url.host or re.search(r"[\s%\\]", url.host):
        raise ValueError(f"{text!r} names no valid host; {example}")
    if not 0 < (url.port or 80) < 1 << 16:
        raise ValueError(f"{text!r} names no valid port; {example}")
    path = _PASTED_PATHS.sub("", url.path)
    return url.copy_with(path=path or "/", query=None, fragment=None)


def key_headers(api_key: str | None, *, has_login: bool = False) -> dict[str, str]:
    """Returns the header with the key. A login in the address is for a proxy, which uses `Authorization` itself."""
    key = (api_key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise ValueError("the API key holds a character that no key has")
    if not key:
        return {}
    return {"X-Api-Key": key} if has_login else {"Authorization": f"Bearer {key}"}


class Connection:
    """Address and settings of a client, from its arguments or from SIGHTLINE_URL and SIGHTLINE_API_KEY."""

    def __init__(self, url: str | None, api_key: str | None, timeout_s: float | None, max_connections: int) -> None:
        base = parse_base_url(url if url is not None else os.environ.get("SIGHTLINE_URL") or DEFAULT_URL)
        self._base, self._timeout_s = str(base).rstrip("/"), timeout_s
        self.address = str(base.copy_with(userinfo=b"")).rstrip("/")
        key = os.environ.get("SIGHTLINE_API_KEY") if api_key is None else api_key
        self.options: dict[str, Any] = {
            "headers": key_headers(key, has_login=bool(base.userinfo)),
            # A proxy from the environment must not be used for this machine.
            "trust_env": base.host not in LOOPBACK_HOSTS,
            # They would send pictures and key to an address that the user did not choose.
            "follow_redirects": False,
            # httpx2 would keep 20 of them open, and open the others anew for each request.
            "limits": httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
        }

    def arguments(self, request: HttpRequest, pictures: list[tuple[str, "IO[bytes] | bytes"]]) -> dict[str, Any]:
        """Returns the arguments of httpx2's `build_request`."""
        # Names of files stay here: they can identify people, and servers log them.
        files = [(name, ("picture", data, "application/octet-stream")) for name, data in pictures]
        return {
            "method": request.method,
            "url": self._base + request.path,
            "headers": dict(request.headers),
            "timeout": self._timeout(max(self._timeout_s or 0, request.min_timeout_s) or request.timeout_s),
            **({"files": files, "data": dict(request.options)} if files else {}),
        }

    @staticmethod
    def _timeout(silence_s: float) -> httpx2.Timeout:
        # A request that waits for one of the connections is not late.
        return httpx2.Timeout(silence_s, connect=CONNECT_TIMEOUT_S, pool=None)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises Unreachable for errors of the transport inside the block, NotSightline for a reply that is no HTTP."""
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError) as error:
            if isinstance(error, httpx2.RemoteProtocolError) and _NOT_HTTP.search(str(error)):
                raise NotSightline(f"{self.address} does not speak HTTP: another kind of server answered") from error
            was_connected = not isinstance(error, _NOT_CONNECTED)
            hint = None if was_connected else "Check the address, and whether the server runs."
            fault = "did not answer" if was_connected else "cannot be reached"
            unreachable = Unreachable(f"{self.address} {fault}: {reason_of(error)}", hint=hint)
            unreachable.was_connected = was_connected
            raise unreachable from error


def is_short(request: httpx2.Request) -> bool:
    """Returns whether the request should be read into memory and sent in one piece."""
    return int(request.headers.get("Content-Length", MAX_JOINED_BYTES + 1)) <= MAX_JOINED_BYTES


def reply_of(response: httpx2.Response) -> HttpReply:
    return HttpReply(response.status_code, dict(response.headers.items()), response.content)


def media_type_of(response: httpx2.Response) -> str:
    """Returns the media type in lower case without parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def reason_of(error: BaseException) -> str:
    """Returns the reason why no reply came, as part of a sentence."""
    for cause in _chain(error):
        if reason := _known_reason(cause):
            return reason
    return str(error) or type(error).__name__


def _known_reason(error: BaseException) -> str | None:
    match error:
        case socket.gaierror():
            return "its name is unknown (DNS)"
        case UnicodeError() | httpx2.InvalidURL():
            return "its name is not valid"
        case ConnectionRefusedError():
            return "the connection was refused, so nothing listens at this address"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return f"a TLS error, perhaps because it speaks http:// only ({error.reason or error})"
        case httpx2.ConnectTimeout():
            return f"the connection timed out after {CONNECT_TIMEOUT_S:.0f} s"
        case httpx2.TimeoutException():
            return "it accepted the connection, but the reply timed out"
        case httpx2.ProxyError():
            return f"the proxy in the environment refused ({error})"
        case OSError(errno=errno.ECONNRESET | errno.EPIPE) | httpx2.RemoteProtocolError() | httpx2.ReadError():
            return "the connection broke off"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """Returns the error and its causes, the first cause first, as it is the most specific."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain[::-1]
