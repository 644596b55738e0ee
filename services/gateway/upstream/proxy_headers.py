"""Headers on their way through the gateway, both ways."""

from collections.abc import Iterable, Sequence

from multidict import CIMultiDict
from starlette.datastructures import Headers

from services.gateway.auth.api_keys import Caller
from services.gateway.upstream.service_links import LinkRewriter
from sightline.api import headers as names
from sightline.runtime.tracing import inject

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
