import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.api.problems import Code, Problem
from sightline.http.negotiation import acceptable_types, negotiate

OFFERED = ("image/png", "image/jpeg", "application/json")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("*/*", "image/png"),
        ("*", "image/png"),
        ("image/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/JPEG", "image/jpeg"),
        ("application/json, image/png", "image/png"),
        ("application/json;q=0.9, image/png;q=0.8", "application/json"),
        ("image/png;q=0, */*;q=0.1", "image/jpeg"),
        ("image/*;q=0.2, image/jpeg;q=0.1, */*;q=0.3", "application/json"),
        ("*/*;q=0.9, image/jpeg", "image/jpeg"),
        ("*/*, image/png;q=0.5", "image/jpeg"),
        ("image/jpeg;version=2;q=0.3, image/png;q=0.2", "image/jpeg"),
        ("image/jpeg ; Q = 0.3 , image/png;q=0.2", "image/jpeg"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "image/png"),
        ("nonsense, image/jpeg", "image/jpeg"),
        ("nonsense", "image/png"),
        ("*/json", "image/png"),
        ("image/jpeg;q=high, image/png;q=0.9", "image/jpeg"),
        (",,image/jpeg,", "image/jpeg"),
    ],
)
def test_best_offered_media_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert negotiate(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0, image/jpeg;q=0.000, application/*;q=0", "*/*;q=0"])
def test_header_that_covers_no_offer_is_refused(accept: str) -> None:
    with pytest.raises(Problem) as caught:
        negotiate(accept, OFFERED)
    assert caught.value.code is Code.NOT_ACCEPTABLE
    assert caught.value.facts["offered"] == list(OFFERED)


def test_parameters_of_an_offered_type_are_ignored() -> None:
    offered = ("application/json; charset=utf-8", "image/png")
    assert negotiate("application/json", offered) == offered[0]


@given(st.text(alphabet="abimgepn/*;q=01., \t", max_size=60))
def test_any_accept_header_is_answered_or_refused(accept: str) -> None:
    try:
        assert negotiate(accept, OFFERED) in OFFERED
    except Problem as problem:
        refusal = problem.code
        assert refusal is Code.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        (None, OFFERED),
        ("*/*", OFFERED),
        ("image/jpeg", ("image/jpeg",)),
        ("image/*;q=0.5, application/json", ("application/json", "image/png", "image/jpeg")),
        ("*/*, image/png;q=0", ("image/jpeg", "application/json")),
    ],
)
def test_acceptable_types_begin_with_the_best(accept: str | None, accepted: tuple[str, ...]) -> None:
    assert acceptable_types(accept, OFFERED) == accepted


def test_acceptable_types_are_never_empty() -> None:
    with pytest.raises(Problem):
        acceptable_types("text/html", OFFERED)
