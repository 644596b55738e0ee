import pytest
from starlette.datastructures import Headers

from services.gateway.jobs.options import Preferences, read_idempotency_key, read_preferences
from sightline.api.problems import Code, Problem


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Preferences()),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async, WAIT=10"], Preferences(respond_async=True, wait_s=10)),
        (["wait=10", "respond-async"], Preferences(respond_async=True, wait_s=10)),
        ([' wait = "10" ; why=not , , respond-async;a;b="c,d"'], Preferences(respond_async=True, wait_s=10)),
        (["wait=10, wait=20"], Preferences(wait_s=10)),
        (["wait=0"], Preferences(wait_s=0)),
        (["wait=0000000000005"], Preferences(wait_s=5)),
        (["wait=99999999999999999999"], Preferences(wait_s=10**6)),
        (["wait", "wait=soon", "wait=-1", "wait=1.5", "wait=²"], Preferences()),
        (['note="respond-async, wait=10"'], Preferences()),
        (["respond-async=yes"], Preferences(respond_async=True)),
        (['wait="10, respond-async'], Preferences(respond_async=True)),
        (["return=minimal; respond-async"], Preferences()),
    ],
)
def test_known_preferences_are_read_and_others_ignored(values: list[str], expected: Preferences) -> None:
    assert read_preferences(values) == expected


def test_applied_preferences_are_named() -> None:
    both = Preferences(respond_async=True, wait_s=90)
    assert both.applied(max_wait_s=60, later=True) == "respond-async, wait=60"
    assert both.applied(max_wait_s=60, later=False) == "wait=60"
    assert Preferences().applied(max_wait_s=60, later=True) == ""


def test_only_respond_async_and_wait_ask_for_a_job() -> None:
    assert not Preferences().requests_job
    assert Preferences(wait_s=0).requests_job
    assert Preferences(respond_async=True).requests_job


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ('"8e03978e-40d5"', "8e03978e-40d5"),
        ("8e03978e-40d5", "8e03978e-40d5"),
        (' "a b" ', "a b"),
        ("x" * 255, "x" * 255),
        (r'"a\"b\\c"', r'a"b\c'),
        ('"a";scope=mine', "a"),
    ],
)
def test_idempotency_key_may_be_quoted_or_bare(sent: str, key: str) -> None:
    assert read_idempotency_key(Headers({"Idempotency-Key": sent})) == key


@pytest.mark.parametrize("sent", ["", '""', "a b", '"a', 'a"b', r'"a\b"', r'"a\"', '"a" b', "x" * 256, "\xfc", "a\x00"])
def test_malformed_idempotency_key_is_refused(sent: str) -> None:
    with pytest.raises(Problem) as caught:
        read_idempotency_key(Headers({"Idempotency-Key": sent}))
    assert caught.value.code is Code.INVALID_REQUEST


def test_repeated_idempotency_key_is_refused() -> None:
    with pytest.raises(Problem, match="once"):
        read_idempotency_key(Headers(raw=[(b"idempotency-key", b"one"), (b"idempotency-key", b"two")]))


def test_idempotency_key_may_be_absent() -> None:
    assert read_idempotency_key(Headers({})) is None
