import sys
from pathlib import Path

import pytest

from sightline.runtime.resources import cores_of_quota, memory_limit_bytes


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, sys.maxsize),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, sys.maxsize),
        ({}, sys.maxsize),
    ],
)
def test_cores_of_a_container_are_those_of_its_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    write(tmp_path, files)
    assert cores_of_quota(tmp_path) == cores


@pytest.mark.parametrize(
    ("files", "limit_bytes"),
    [
        ({"memory.max": "4294967296\n"}, 4 << 30),
        ({"memory.max": "max\n"}, sys.maxsize),
        ({"memory/memory.limit_in_bytes": "4294967296\n"}, 4 << 30),
        ({}, sys.maxsize),
    ],
)
def test_memory_of_a_container_is_its_limit(tmp_path: Path, files: dict[str, str], limit_bytes: int) -> None:
    write(tmp_path, files)
    assert memory_limit_bytes(tmp_path) == limit_bytes


def write(folder: Path, files: dict[str, str]) -> None:
    """The files of version 1 of control groups lie in folders."""
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
