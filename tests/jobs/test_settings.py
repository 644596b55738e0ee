from pathlib import Path

import pytest
from pydantic import ValidationError

from sightline.jobs.settings import JobSettings


def test_there_are_no_jobs_without_a_redis() -> None:
    assert JobSettings().redis_url is None


def test_the_environment_names_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", "rediss://queue.example:6380/1")
    monkeypatch.setenv("SIGHTLINE_LEASE_S", "12.5")

    settings = JobSettings()

    assert (settings.redis_url, settings.lease_s) == ("rediss://queue.example:6380/1", 12.5)


@pytest.mark.parametrize("url", ["http://queue.example", "queue.example:6379", ""])
def test_url_that_is_not_redis_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="redis://"):
        JobSettings(redis_url=url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis:6379", "redis://:a%2Fb@redis:6379"),
        ("rediss://worker@redis:6379/1", "rediss://worker:a%2Fb@redis:6379/1"),
    ],
)
def test_the_password_comes_from_a_file(tmp_path: Path, url: str, expected: str) -> None:
    file = tmp_path / "password"
    file.write_text("a/b\n")
    assert JobSettings(redis_url=url, redis_password_file=file).redis_url == expected
