import pytest

from sightline.api.problems import STATUS, Code, Problem


@pytest.mark.parametrize("code", Code)
def test_every_code_has_an_error_status(code: Code) -> None:
    assert 400 <= STATUS[code] < 600


def test_details_carry_the_facts() -> None:
    details = Problem(Code.TOO_MANY_PIXELS, "Too many.", limit_px=9).details("abc")
    assert details.model_dump(mode="json") == {
        "type": "urn:sightline:problem:too_many_pixels",
        "title": "Too many pixels",
        "status": 413,
        "code": "too_many_pixels",
        "detail": "Too many.",
        "request_id": "abc",
        "limit_px": 9,
    }
