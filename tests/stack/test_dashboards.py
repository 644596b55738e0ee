"""Every question of every panel, asked of a Prometheus that watches a real fleet at work."""

import json
import math
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sightline.api.declaration import route_of
from sightline.cli.models import find_models, sample_pictures
from tests.stack.compose import ROOT, Stack, until

pytestmark = pytest.mark.stack

FILES = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RATE_INTERVAL = "1m"
SCRAPES_S = 25.0  # a rate needs two, ten seconds apart
MIN_ROUNDS = 3  # on a busy machine one may take longer than that, and counters that never rise have no rate


def targets(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target


QUESTIONS = [(file.stem, title, target) for file in FILES for title, target in targets(file)]


def ask_all(stack: Stack, headers: dict[str, str], *, mark: bytes = b"") -> list[httpx2.Response]:
    """A mark behind the end of the pictures makes them others, which no cache knows."""
    return [
        httpx2.post(
            f"{stack.gateway}{route_of(model)}",
            files={name: path.read_bytes() + mark for name, path in sample_pictures(model).items()},
            headers=headers,
            timeout=120,
        )
        for model in find_models()
    ]


def work_through_jobs(stack: Stack, mark: bytes) -> None:
    jobs = ask_all(stack, {"Prefer": "respond-async"}, mark=mark)
    assert {reply.status_code for reply in jobs} == {202}
    addresses = [stack.gateway + reply.headers["location"] for reply in jobs]
    until(lambda: all(httpx2.get(address).json()["state"] == "succeeded" for address in addresses))


@pytest.fixture(scope="module")
def used(stack: Stack) -> Stack:
    """A fleet that has answered requests, worked on jobs, and refused what was no picture."""
    end = time.monotonic() + SCRAPES_S
    for number in count():
        if number >= MIN_ROUNDS and time.monotonic() > end:
            break
        assert {reply.status_code for reply in ask_all(stack, {})} == {200}
        work_through_jobs(stack, str(number).encode())
        httpx2.post(f"{stack.gateway}/v1/inpaint", files={"image": b"no picture"})
    until(lambda: bool(stack.query("model:sightline_requests:rate5m")))
    return stack


@pytest.mark.parametrize(("dashboard", "title", "target"), QUESTIONS, ids=[f"{d}: {t}" for d, t, _ in QUESTIONS])
def test_a_panel_shows_what_it_says(used: Stack, dashboard: str, title: str, target: dict[str, str]) -> None:
    expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL).replace("$model", "inpaint")
    assert "$" not in expression
    series = used.query(expression)
    assert [each for each in series if not math.isnan(float(each["value"][1]))], f"{title} is empty: {expression}"
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        assert all(label in each["metric"] for each in series), f"{title}: no {label} in {series[0]['metric']}"


def value(series: list[dict[str, Any]]) -> float:
    (only,) = series
    return float(only["value"][1])


def test_the_numbers_are_those_of_the_fleet(used: Stack) -> None:
    assert value(used.query('max(sightline_gateway_ready_replicas{model="inpaint"})')) == 1
    assert value(used.query("count(up == 1)")) == len(find_models()) + 2
    assert value(used.query('sum(sightline_gateway_requests_total{model="inpaint", status="200"})')) >= 2
    assert used.query('ALERTS{alertstate="firing"}') == []


def test_every_alert_is_loaded(used: Stack) -> None:
    groups = httpx2.get(f"{used.prometheus}/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
