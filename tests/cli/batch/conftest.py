import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SAMPLES
from tests.s3_server import s3_environment, s3_server


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four files: two pictures, a copy with an odd name in a folder, and one that is no picture."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(SAMPLES / "photo.jpg", folder / "photo.jpg")
    shutil.copy(SAMPLES / "astronaut.jpg", folder / "astronaut.jpg")
    shutil.copy(SAMPLES / "photo.jpg", folder / "sub" / "ä b%#.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("left out")
    return folder


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server("archive") as address:
        yield address


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a bucket, with its credentials in the environment."""
    for name, value in s3_environment(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    return "s3://archive"
