import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from sightline.serving.settings import Provider, ServiceSettings, cores_of_quota


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_PROVIDERS", "tensorrt, cuda")
    monkeypatch.setenv("SIGHTLINE_MAX_BATCH", "3")
    settings = ServiceSettings()
    assert settings.providers == (Provider.TENSORRT, Provider.CUDA)
    assert settings.max_batch == 3


@pytest.mark.parametrize(
    ("name", "value"), [("PROVIDERS", "abacus"), ("PROVIDERS", ""), ("MAX_BYTES", "0"), ("PORT", "70000")]
)
def test_refuses_what_cannot_be(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        ServiceSettings()


def test_zero_threads_means_every_core() -> None:
    assert ServiceSettings(codec_threads=0).codec_workers >= 1
    assert ServiceSettings(intra_op_threads=3).run_workers == 3


def test_pictures_may_be_as_large_as_the_larger_way_in_allows() -> None:
    assert ServiceSettings(max_bytes=10, max_job_bytes=30).largest_bytes == 30
    assert ServiceSettings(max_bytes=50, max_job_bytes=30).largest_bytes == 50


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000\n", 2), ("100000 100000\n", 1), ("max 100000\n", sys.maxsize)]
)
def test_a_container_has_the_cores_of_its_quota(tmp_path: Path, quota: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    assert cores_of_quota(file) == cores


def test_outside_of_a_container_there_is_no_quota(tmp_path: Path) -> None:
    assert cores_of_quota(tmp_path / "cpu.max") == sys.maxsize
