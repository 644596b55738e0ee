import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from sightline.api.problems import Code, Problem
from sightline.jobs.webhooks.signing import key_of, signed_headers


def whsec(key: bytes) -> str:
    return f"whsec_{base64.b64encode(key).decode()}"


keys = st.binary(min_size=24, max_size=64)


@settings(deadline=None)
@given(keys, st.uuids().map(str), st.text(alphabet='a.{}"\n\u00e9\u2603'))
def test_the_reference_library_verifies_the_signature(key: bytes, message_id: str, text: str) -> None:
    headers = signed_headers(whsec(key), message_id, text.encode(), timestamp_s=int(time.time()))
    Webhook(whsec(key)).verify(text, headers, json_parse=False)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "webhook-signature", "body", "key"])
def test_the_reference_library_refuses_what_was_changed(changed: str) -> None:
    key, body = bytes(32), "{}"
    headers = signed_headers(whsec(key), "id", body.encode(), timestamp_s=int(time.time()))
    if changed == "webhook-timestamp":
        headers[changed] = str(int(headers[changed]) + 1)
    elif changed == "webhook-signature":
        headers[changed] = f"v1,{base64.b64encode(bytes(32)).decode()}"
    elif changed == "webhook-id":
        headers[changed] = "other"
    elif changed == "body":
        body = "{ }"
    else:
        key = bytes(31) + b"1"
    with pytest.raises(WebhookVerificationError):
        Webhook(whsec(key)).verify(body, headers)


@settings(deadline=None)
@given(keys)
def test_padding_may_be_left_out(key: bytes) -> None:
    assert key_of(whsec(key)) == key_of(whsec(key).rstrip("=")) == key


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", whsec(bytes(23)), whsec(bytes(65)), base64.b64encode(bytes(32)).decode(), "whsec_" + "*" * 40, "é"],
    ids=["empty", "no key", "short", "long", "no prefix", "no base64", "no ascii"],
)
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(Problem) as caught:
        key_of(secret)
    assert caught.value.code is Code.INVALID_REQUEST
    assert len(secret) < 7 or secret not in caught.value.detail
