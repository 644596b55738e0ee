"""Signatures by the Standard Webhooks specification, version v1: HMAC-SHA256 with a shared secret."""

import base64
import binascii
import hashlib
import hmac

from sightline.api.problems import Code, Problem

PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)


def key_of(secret: str) -> bytes:
    """Raises Problem INVALID_REQUEST for what is no `whsec_` secret, without quoting it."""
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in SECRET_BYTES:
        detail = f"A webhook's secret is {PREFIX} and then base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} bytes."
        raise Problem(Code.INVALID_REQUEST, detail)
    return key


def signed_headers(secret: str, message_id: str, body: bytes, *, timestamp_s: int) -> dict[str, str]:
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    signature = base64.b64encode(hmac.digest(key_of(secret), signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": f"v1,{signature}",
    }
