import pytest

from services.gateway.jobs.prefer import Preferences, read_preferences


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
def test_reads_what_is_known_and_ignores_the_rest(values: list[str], expected: Preferences) -> None:
    assert read_preferences(values) == expected


def test_tells_what_was_followed() -> None:
    both = Preferences(respond_async=True, wait_s=90)
    assert both.applied(max_wait_s=60, later=True) == "respond-async, wait=60"
    assert both.applied(max_wait_s=60, later=False) == "wait=60"
    assert Preferences().applied(max_wait_s=60, later=True) == ""


def test_what_was_not_asked_for_asks_for_no_job() -> None:
    assert not Preferences().asks_for_job
    assert Preferences(wait_s=0).asks_for_job
    assert Preferences(respond_async=True).asks_for_job
