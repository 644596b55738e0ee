"""A batch on a Ray cluster of two nodes: as complete as without a cluster, and resumable after the driver is killed.

Needs the extra `ray`: `.venv/bin/pip install 'ray[data]>=2.50,<3'`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: .venv/bin/pip install 'ray[data]>=2.50,<3'")

from ray.cluster_utils import Cluster

from tests.cli.conftest import PHOTO, ROOT

pytestmark = pytest.mark.stack

PICTURES = 240
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with a head for the driver and the readers, and two nodes of one CPU each."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    try:
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(PICTURES):
        # Bytes after the end of the picture make the files differ.
        (folder / f"{index:03}.jpg").write_bytes(PHOTO.read_bytes() + str(index).encode())
    return folder


def command(pictures: Path, out: Path, cluster: str, *, workers: int) -> list[str]:
    words = ("batch", "screen", str(pictures), "--out", str(out), "--ray", cluster, "--workers", str(workers), "--json")
    return [sys.executable, "-m", "sightline", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}"}


def entries(out: Path) -> list[dict[str, str]]:
    path = out / "manifest.jsonl"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else ()
    return [line for line in lines if "file" in line]


@pytest.mark.parametrize("workers", [1, 2])
def test_cluster_processes_every_picture(pictures: Path, tmp_path: Path, cluster: str, workers: int) -> None:
    done = subprocess.run(
        command(pictures, tmp_path, cluster, workers=workers),
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["done"], summary["failed"]) == (PICTURES, 0)
    assert len(list(tmp_path.glob("*.json"))) == PICTURES
    print(f"{workers} workers: {PICTURES / summary['seconds']:.1f} pictures/s, start of the actors included")


def test_killed_driver_resumes_without_doing_recorded_pictures_again(
    pictures: Path, tmp_path: Path, cluster: str
) -> None:
    words = command(pictures, tmp_path, cluster, workers=2)
    driver = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE)
    give_up_at = time.monotonic() + PATIENCE_S
    while len(entries(tmp_path)) < PICTURES // 6:
        assert driver.poll() is None
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    before = len(entries(tmp_path))
    assert before < PICTURES
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["done_before"], summary["done"]) == (before, PICTURES)
    files = [entry["file"] for entry in entries(tmp_path)]
    assert sorted(files) == sorted(path.name for path in pictures.iterdir())
