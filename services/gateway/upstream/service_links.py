"""References in a service's headers, made to lead to the gateway.

A service knows its own address alone. A client that followed it would leave the gateway, and send its key along.
"""

import re

from yarl import URL

# Browsers read // and /\ at the beginning as the name of another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
_LINK = re.compile(r"<([^<>]*)>")

LINKING = frozenset((b"location", b"content-location", b"link"))
# Each leads somewhere else by rules of its own, and no service needs one; CORS is the gateway's to decide.
NEVER_RETURNED = frozenset((b"refresh", b"alt-svc", b"alt-used", b"x-accel-redirect", b"x-sendfile", b"sourcemap"))
NEVER_RETURNED_PREFIX = b"access-control-"


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
