from datetime import UTC, datetime

import pytest

from sightline.api.evidence import Evidence, ModelIdentity

IDENTITY = ModelIdentity(name="inpaint", version="1.0.0", weights_sha256="0123456789abcdef" * 4, contract="shipped")


def test_an_identity_reads_as_name_version_and_digest() -> None:
    assert str(IDENTITY) == "inpaint@1.0.0+0123456789ab"


@pytest.mark.parametrize("change", [{"version": "1.0.1"}, {"weights_sha256": "f" * 64}, {"contract": "lama"}])
def test_an_identity_s_digest_differs_with_all_that_it_says(change: dict[str, str]) -> None:
    assert IDENTITY.model_copy().sha256 == IDENTITY.sha256
    assert IDENTITY.model_copy(update=change).sha256 != IDENTITY.sha256


def test_evidence_survives_the_wire() -> None:
    evidence = Evidence(
        request_id="abc",
        input_sha256="f" * 64,
        model=IDENTITY,
        parameters={"times": 2},
        provider="CPUExecutionProvider",
        precision="fp32",
        libraries={"numpy": "2.4"},
        received_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        finished_at=datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    )
    assert Evidence.model_validate_json(evidence.model_dump_json()) == evidence
