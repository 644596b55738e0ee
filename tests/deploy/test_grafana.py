"""The dashboards without Prometheus; tests/stack runs their queries."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scripts import load_script

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def test_committed_dashboards_match_code(tmp_path: Path) -> None:
    load_script(GRAFANA / "dashboards.py").write(tmp_path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        file.name: file.read_text() for file in FILES
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_do_not_overlap(file: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(file):
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_recording_rule_is_used() -> None:
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules" / "recording.yml").read_text())
    names = {rule["record"] for group in rules["groups"] for rule in group["rules"]}
    alerts = ROOT / "deploy" / "prometheus" / "rules" / "alerts.yml"
    users = [*FILES, alerts, *(ROOT / "deploy" / "helm").rglob("*.yaml")]
    text = "\n".join(file.read_text() for file in users)
    assert {name for name in names if not re.search(re.escape(name) + r"\b", text)} == set()


def test_panels_use_provisioned_data_source() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    asked = {panel["datasource"]["uid"] for file in FILES for panel in panels(file)}
    assert asked == {source["uid"]}
