import pytest
from pydantic import ValidationError

from sightline.inference.settings import Provider
from sightline.serving.settings import ServiceSettings


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "tensorrt, cuda")
    monkeypatch.setenv("SIGHTLINE_MAX_BATCH", "3")
    settings = ServiceSettings()
    assert settings.providers == (Provider.TENSORRT, Provider.CUDA)
    assert settings.max_batch == 3


@pytest.mark.parametrize(
    ("name", "value"), [("PROVIDERS", "abacus"), ("PROVIDERS", ""), ("MAX_BYTES", "0"), ("PORT", "70000")]
)
def test_invalid_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        ServiceSettings()


def test_zero_threads_means_every_core() -> None:
    assert ServiceSettings(codec_threads=0).codec_workers >= 1
    assert ServiceSettings(intra_op_threads=3).run_workers == 3


def test_largest_picture_is_that_of_the_larger_limit() -> None:
    assert ServiceSettings(max_bytes=10, max_job_bytes=30).largest_bytes == 30
    assert ServiceSettings(max_bytes=50, max_job_bytes=30).largest_bytes == 50
