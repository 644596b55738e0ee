"""References in a service's headers, made to lead to the gateway.

A service knows its own address alone. A client that followed it would leave the gateway, and send its key along.
"""

import re
from collections.abc import Iterable, Sequence

from multidict import CIMultiDict
from starlette.datastructures import Headers
from yarl import URL

from services.gateway.auth.api_keys import Caller
from sightline.api import headers as names
from sightline.runtime.tracing import inject

# Browsers read // and /\ at the beginning as the name of another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
_LINK = re.compile(r"<([^<>]*)>")
LINKING = frozenset((b"location", b"content-location", b"link"))
# Each leads somewhere else by rules of its own, and no service needs one; CORS is the gateway's to decide.
NEVER_RETURNED = frozenset((b"refresh", b"alt-svc", b"alt-used", b"x-accel-redirect", b"x-sendfile", b"sourcemap"))
NEVER_RETURNED_PREFIX = b"access-control-"
RawHeaders = Sequence[tuple[bytes, bytes]]
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_FLEET_CREDENTIAL = names.FLEET_CREDENTIAL.lower().encode()
# The gateway's own server speaks for itself, and has answered `Expect` when the body begins to come.
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"host",
    b"expect",
    names.REQUEST_ID.lower().encode(),
    names.DEADLINE_MS.lower().encode(),
    # Secrets that are for the gateway alone.
    b"authorization",
    b"x-api-key",
    names.WEBHOOK_SECRET.lower().encode(),
    # Only the gateway's own counts.
    _FLEET_CREDENTIAL,
    names.CALLER.lower().encode(),
    names.PRIORITY.lower().encode(),
}
# What aiohttp would say by itself where the client said nothing.
SKIPPED_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_NOT_RETURNED = _HOP_BY_HOP | {b"server", b"date", _FLEET_CREDENTIAL}


class LinkRewriter:
    """Rewrites what a reply to the request for `url` refers to; `prefix` is the gateway's own public path."""

    def __init__(self, url: URL, prefix: str) -> None:
        self._url, self._prefix = url, prefix

    def header(self, name: bytes, value: bytes) -> bytes | None:
        """The value that clients may have; None where the header is to be dropped."""
        if name in NEVER_RETURNED or name.startswith(NEVER_RETURNED_PREFIX):
            return None
        if name not in LINKING:
            return value
        text = value.decode("latin-1")
        rewritten = self._links(text) if name == b"link" else self.reference(text)
        return None if rewritten is None else rewritten.encode("ascii")

    def reference(self, text: str) -> str | None:
        """None where it leads past this service, or nowhere."""
        try:
            target = self._url.join(URL(text.strip()))
            if target.origin() != self._url.origin():
                return None
        except ValueError:
            return None
        local = target.raw_path_qs + (f"#{target.raw_fragment}" if target.raw_fragment else "")
        return self._prefix + local if _LOCAL_PATH.fullmatch(local) else None

    def _links(self, text: str) -> str | None:
        """The whole header is dropped for one target that leads elsewhere."""
        targets = [self.reference(target) for target in _LINK.findall(text)]
        if not targets or None in targets or not text.isascii():
            return None
        remaining = iter(targets)
        return _LINK.sub(lambda _: f"<{next(remaining)}>", text)


def request_headers(
    headers: Headers, *, caller: Caller, request_id: str, left_s: float, fleet_credential: str | None = None
) -> CIMultiDict[str]:
    """What goes to a service: the client's own, and what the gateway says of the request; Problem for its priority."""
    forwarded = CIMultiDict(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in _end_to_end(headers.raw, _NOT_FORWARDED)
    )
    forwarded[names.REQUEST_ID] = request_id
    forwarded[names.CALLER], forwarded[names.PRIORITY] = caller.share, caller.priority(headers)
    forwarded[names.DEADLINE_MS] = str(max(1, int(left_s * 1000)))
    if fleet_credential is not None:
        forwarded[names.FLEET_CREDENTIAL] = fleet_credential
    inject(forwarded)
    return forwarded


def reply_headers(raw: RawHeaders, *, links: LinkRewriter, body_sha256: str | None) -> list[tuple[bytes, bytes]]:
    headers = [
        (name.lower(), rewritten)
        for name, value in _end_to_end(raw, _NOT_RETURNED)
        if (rewritten := links.header(name.lower(), value)) is not None
    ]
    if body_sha256 is not None:
        headers.append((names.BODY_SHA256.lower().encode(), body_sha256.encode()))
    return headers


def _end_to_end(raw: RawHeaders, hidden: frozenset[bytes]) -> Iterable[tuple[bytes, bytes]]:
    hidden |= {
        token.strip().lower() for name, value in raw if name.lower() == b"connection" for token in value.split(b",")
    }
    return ((name, value) for name, value in raw if name.lower() not in hidden)
