import pytest

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.guard import Guard
from sightline.jobs.webhooks.receiver import checked_webhook, receiver_of

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_usable_webhook_is_taken_as_it_is() -> None:
    url = "https://example.org/hook?token=a%2Fb"
    assert checked_webhook(url, SECRET, Guard()) == Webhook(url, SECRET)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://example.org:port/", SECRET),
        ("not a url", SECRET),
        ("", SECRET),
        ("https://10.0.0.1/", SECRET),
        ("https://example.org/" + "a" * 2048, SECRET),
        ("https://example.org/", "hunter2"),
    ],
    ids=["port", "words", "empty", "private", "long", "secret"],
)
def test_others_are_refused_without_being_quoted(url: str, secret: str) -> None:
    with pytest.raises(Problem) as caught:
        checked_webhook(url, secret, Guard())
    assert caught.value.code is Code.INVALID_REQUEST
    assert not url or url not in caught.value.detail
    assert secret not in caught.value.detail


@pytest.mark.parametrize(
    ("url", "receiver"),
    [
        ("https://Example.org/a?b=c", "https://example.org"),
        ("https://example.org:443/d", "https://example.org"),
        ("http://example.org/a", "http://example.org"),
        ("https://example.org:8443/a", "https://example.org:8443"),
    ],
)
def test_a_receiver_is_scheme_host_and_port(url: str, receiver: str) -> None:
    assert receiver_of(Webhook(url, SECRET)) == receiver
