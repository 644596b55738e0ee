"""What work costs, and how waiting grows with load: short, and printed for docs/scaling.md."""

import time

import httpx2
import pytest
from docker.models.containers import Container

from sightline.api.declaration import route_of
from sightline.cli.models import find_models, sample_pictures
from tests.scripts import load_script
from tests.stack.compose import ROOT, Stack, until
from tests.stack.load import cpu_s, open_loop

pytestmark = [pytest.mark.stack, pytest.mark.anyio]

SCRAPE_S = 12.0
REQUESTS = 20
JOBS = 100
LOADS = (0.3, 0.5, 0.7, 0.85)
LOADED_S = 40.0
MODEL = "hra_screening"  # one run for each photo
TOLERANCE = 2.5  # other work shares the machine


def files_for(model: str) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in sample_pictures(model).items()}


def part(stack: Stack, name: str) -> Container:
    return stack.containers(name.replace("_", "-"))[0]


def stages_s(stack: Stack, model: str) -> dict[str, float]:
    """Sums over all requests so far."""
    series = stack.query(f'sum by (stage) (sightline_stage_duration_seconds_sum{{model="{model}"}})')
    return {each["metric"]["stage"]: float(each["value"][1]) for each in series}


@pytest.mark.parametrize("model", find_models())
def test_cpu_time_per_request(stack: Stack, model: str) -> None:
    url, files = f"{stack.gateway}{route_of(model)}", files_for(model)
    assert httpx2.post(url, files=files, timeout=120).status_code == 200
    time.sleep(SCRAPE_S)
    before, service, gateway = stages_s(stack, model), cpu_s(part(stack, model)), cpu_s(part(stack, "gateway"))
    started = time.monotonic()
    with httpx2.Client(timeout=120) as http:
        for _ in range(REQUESTS):
            assert http.post(url, files=files).status_code == 200
    each_s = (time.monotonic() - started) / REQUESTS
    service, gateway = cpu_s(part(stack, model)) - service, cpu_s(part(stack, "gateway")) - gateway
    time.sleep(SCRAPE_S)
    stages = {stage: (total - before[stage]) / REQUESTS * 1e3 for stage, total in stages_s(stack, model).items()}
    print(f"\n{model}: {each_s * 1e3:.0f} ms; processor ms: service {service / REQUESTS * 1e3:.0f}, ", end="")
    print(
        f"gateway {gateway / REQUESTS * 1e3:.1f}; stages ms { ({name: round(ms, 1) for name, ms in stages.items()}) }"
    )
    assert each_s * 1e3 > stages["infer"]
    assert gateway < service


async def test_waiting_grows_with_load_as_the_model_says(stack: Stack) -> None:
    url, files = f"{stack.gateway}{route_of(MODEL)}", files_for(MODEL)
    alone = await open_loop(url, files, rate_per_s=0.5, duration_s=20.0, seed=0)
    capacity = load_script(ROOT / "deploy" / "capacity.py")
    replica = capacity.Replica(fixed_s=0.0, each_s=alone.quantile_s(0.5))
    print(f"\n{MODEL}, alone: {alone.quantile_s(0.5) * 1e3:.0f} ms (p50 of {len(alone.latencies_s)})")
    for load in LOADS:
        rate_per_s = load * replica.capacity_per_s
        tally = await open_loop(url, files, rate_per_s=rate_per_s, duration_s=LOADED_S, seed=1)
        predicted_s = capacity.mean_response_s(replica, rate_per_s)
        print(
            f"load {load}: {rate_per_s:.1f} per s, measured mean {tally.mean_s * 1e3:.0f} ms, "
            f"p95 {tally.quantile_s(0.95) * 1e3:.0f}, model {predicted_s * 1e3:.0f}, refused {tally.refused}"
        )
        assert tally.refused == 0
        if load <= 0.5:
            assert predicted_s / TOLERANCE < tally.mean_s < predicted_s * TOLERANCE


async def test_cpu_time_per_job(stack: Stack) -> None:
    url, files = f"{stack.gateway}{route_of(MODEL)}", files_for(MODEL)
    parts = {name: part(stack, name) for name in ("gateway", "redis", MODEL)}
    before = {name: cpu_s(container) for name, container in parts.items()}
    jobs, started = [], time.monotonic()
    async with httpx2.AsyncClient(timeout=120, trust_env=False) as http:
        for number in range(JOBS):
            other = {name: data + str(number).encode() for name, data in files.items()}
            reply = await http.post(url, files=other, headers={"Prefer": "respond-async"})
            assert reply.status_code == 202
            jobs.append(stack.gateway + reply.headers["location"])
    accepted_s = time.monotonic() - started
    until(lambda: httpx2.get(jobs[-1]).json()["state"] == "succeeded")
    until(lambda: all(httpx2.get(job).json()["state"] == "succeeded" for job in jobs))
    costs = {name: (cpu_s(container) - before[name]) / JOBS * 1e3 for name, container in parts.items()}
    print(
        f"\n{JOBS} jobs: accepted at {JOBS / accepted_s:.0f} per s on one connection; processor ms for each: ", end=""
    )
    print({name: round(ms, 2) for name, ms in costs.items()})
    assert costs["redis"] < costs["gateway"] < 10 * costs[MODEL]
