"""The key by which a client may send a request again without having it done twice."""

import re

from starlette.datastructures import Headers

from sightline.api import headers as names
from sightline.api.problems import Code, Problem

_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"(?: *;[\x20-\x7e]*)?')
_BARE = re.compile(r"[\x21\x23-\x7e]{1,255}")
_ESCAPED = re.compile(r"\\(.)")


def read_idempotency_key(headers: Headers) -> str | None:
    """A quoted string as the draft standard has it, or the bare text that many clients send."""
    sent = headers.getlist(names.IDEMPOTENCY_KEY)
    if not sent:
        return None
    if len(sent) > 1:
        raise Problem(Code.INVALID_REQUEST, f"{names.IDEMPOTENCY_KEY} comes once.")
    text = sent[0].strip()
    if quoted := _QUOTED.fullmatch(text):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _BARE.fullmatch(text):
        return text
    detail = f"{names.IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters, and in quotes if it has spaces."
    raise Problem(Code.INVALID_REQUEST, detail)
