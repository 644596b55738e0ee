"""The key by which a client may send a request again without having it done twice."""

import re

from starlette.datastructures import Headers

from sightline.api import headers as names
from sightline.api.problems import Code, Problem

_KEY = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')


def read_idempotency_key(headers: Headers) -> str | None:
    """A quoted string as the draft standard has it, or the bare text that many clients send."""
    sent = headers.get(names.IDEMPOTENCY_KEY)
    if sent is None:
        return None
    match = _KEY.fullmatch(sent.strip())
    if match is None:
        detail = f"{names.IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters."
        raise Problem(Code.INVALID_REQUEST, detail)
    return match[1] or match[2]
