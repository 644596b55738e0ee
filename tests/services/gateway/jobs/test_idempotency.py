import pytest
from starlette.datastructures import Headers

from services.gateway.jobs.idempotency import read_idempotency_key
from sightline.api.problems import Code, Problem


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
def test_reads_a_quoted_or_a_bare_key(sent: str, key: str) -> None:
    assert read_idempotency_key(Headers({"Idempotency-Key": sent})) == key


@pytest.mark.parametrize("sent", ["", '""', "a b", '"a', 'a"b', r'"a\b"', r'"a\"', '"a" b', "x" * 256, "\xfc", "a\x00"])
def test_refuses_what_is_no_key(sent: str) -> None:
    with pytest.raises(Problem) as caught:
        read_idempotency_key(Headers({"Idempotency-Key": sent}))
    assert caught.value.code is Code.INVALID_REQUEST


def test_two_keys_are_refused() -> None:
    with pytest.raises(Problem, match="once"):
        read_idempotency_key(Headers(raw=[(b"idempotency-key", b"one"), (b"idempotency-key", b"two")]))


def test_there_may_be_none() -> None:
    assert read_idempotency_key(Headers({})) is None
