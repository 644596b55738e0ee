import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sightline.api.evidence import Evidence, ModelIdentity
from sightline.evidence.canonical_json import (
    MAX_HEADER_CHARACTERS,
    canonical_bytes,
    from_header,
    record_parameters,
    signed_bytes,
    to_header,
    without_evidence,
)


def make_evidence(**changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "request_id": "r1",
        "input_sha256": "f" * 64,
        "model": ModelIdentity(name="tiny", version="1", weights_sha256="a" * 64, contract="shipped"),
        "parameters": {"times": 2},
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "libraries": {"numpy": "2.4"},
        "received_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "finished_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    }
    return Evidence(**{**values, **changes})


def test_canonical_form_is_that_of_rfc_8785() -> None:
    # The example of the RFC's section 3.2.2.
    value = json.loads(
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], '
        '"string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
    )
    assert canonical_bytes(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_bytes_of_a_reply_and_of_a_record_leave_out_what_holds_their_digest() -> None:
    assert without_evidence({"b": 1, "evidence": {"x": 2}, "a": 0.5}) == b'{"a":0.5,"b":1}'
    assert signed_bytes({"b": 1, "signature": "s", "a": None}) == b'{"a":null,"b":1}'


@pytest.mark.parametrize("number", [2**53, float("nan"), float("inf")])
def test_number_that_json_does_not_have_is_recorded_as_text(number: float) -> None:
    with pytest.raises(ValueError):
        canonical_bytes(number)
    assert record_parameters({"n": [number]}) == {"n": [str(number)]}


def test_long_option_is_recorded_by_its_digest() -> None:
    short, long = {"boxes": [[1, 2, 3, 4]]}, {"boxes": [[1, 2, 3, 4]] * 200}
    recorded = record_parameters({"short": short, "long": long})
    assert recorded["short"] == short
    assert recorded["long"].keys() == {"sha256", "size_bytes"}
    assert recorded["long"]["size_bytes"] == len(canonical_bytes(long))


def test_record_survives_its_header() -> None:
    evidence = make_evidence()
    header = to_header(evidence)
    assert header is not None
    assert from_header(header) == evidence.model_dump(mode="json")


def test_record_that_is_too_long_for_a_header_has_none() -> None:
    inputs = [{"field": "image", "sha256": f"{index:064x}"[::-1], "size_bytes": 1} for index in range(3000)]
    assert to_header(make_evidence(inputs=inputs)) is None
    assert len(to_header(make_evidence(inputs=inputs[:10])) or "") < MAX_HEADER_CHARACTERS


@pytest.mark.parametrize("text", ["", "!", "AAAA", "eJyrVgIAAHgAeg=="])
def test_damaged_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_header(text)
