"""`sightline bench`: compares requests per second over HTTP with the same work in a bare loop.

The loop runs the service's own decoding, inference and encoding one after the other in one process, so the ratio is
the cost or gain of HTTP, batching and threads. Both are measured in turns, so that a noisy machine affects both.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2
import numpy as np
from rich.table import Table

from sightline.cli.fleet import LOOPBACK, free_port, listen_on, serve_command
from sightline.cli.interruption import last_line
from sightline.cli.load_generator import LoadTestJob, LoadTestReport
from sightline.cli.local_model import load_local_model
from sightline.cli.models import load_declaration, require_models, sample_pictures
from sightline.cli.output import CommandError, console, note, print_json
from sightline.cli.server_client import ServerClient
from sightline.cli.supervisor import with_parent_death
from sightline.inference.predictor import Upload
from sightline.serving.settings import ServiceSettings

ROUNDS = 3
# The benchmark measures throughput at saturation, so the service must not shed load.
UNLIMITED_QUEUE = {
    "SIGHTLINE_MAX_QUEUE_MS": "600000",
    "SIGHTLINE_DEADLINE_MS": "600000",
    "SIGHTLINE_MAX_IN_FLIGHT": "1024",
}
# Above this share of a core, the generator may wait for its own core and not for the server.
MAX_GENERATOR_SHARE = 0.8
READY_S = 180.0
STOP_S = 60.0


@dataclass(slots=True)
class BenchLevel:
    """Measurements at one number of connections."""

    connections: int
    bare_requests: int = 0
    bare_s: float = 0.0
    served_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    failures: int = 0
    generator_cpu_s: float = 0.0

    @property
    def bare_per_s(self) -> float:
        return self.bare_requests / self.bare_s

    @property
    def served_per_s(self) -> float:
        return len(self.latencies_s) / self.served_s

    @property
    def ratio(self) -> float:
        return self.served_per_s / self.bare_per_s

    @property
    def generator_share(self) -> float:
        """Share of the time for which the load generator, which has one thread, was computing."""
        return self.generator_cpu_s / self.served_s

    def percentile_ms(self, q: float) -> float:
        return 1e3 * float(np.percentile(self.latencies_s, q)) if self.latencies_s else float("nan")

    def add(self, report: LoadTestReport) -> None:
        self.served_s += report.elapsed_s
        self.latencies_s += report.latencies_s
        self.failures += sum(report.failures.values())
        self.generator_cpu_s += report.cpu_s


class BareLoop:
    """A loop of decoding, inference and encoding on the calling thread."""

    def __init__(self, model: str, pictures: Mapping[str, Path]) -> None:
        self._local = load_local_model(model, ServiceSettings())
        predictor = self._local.predictor
        files = {name: [path.read_bytes()] for name, path in pictures.items()}
        self._upload = Upload(files, predictor.declaration.options())
        self._media_type = predictor.declaration.media_types[0]
        self.run_s(2)

    def run_s(self, requests: int) -> float:
        """Returns the duration of so many requests in seconds."""
        started_at = time.perf_counter()
        for _ in range(requests):
            self._local.answer(self._upload, self._media_type)
        return time.perf_counter() - started_at


def bench(
    model: str,
    *,
    requests: int,
    connections: tuple[int, ...],
    url: str | None,
    api_key: str | None,
    as_json: bool = False,
) -> None:
    """Measures each number of connections, and prints a table or one JSON document."""
    (model,) = require_models([model])
    pictures, accept = sample_pictures(model), load_declaration(model).media_types[0]
    if url:
        ServerClient(url, api_key).close()  # names a mistake in them
    with nullcontext(url) if url else running_service(model, UNLIMITED_QUEUE) as address:
        loop = BareLoop(model, pictures)
        load = LoadTestJob(
            url=address, model=model, accept=accept, pictures=pictures, api_key=api_key, connections=2, requests=4
        )
        _load(load)
        levels: list[BenchLevel] = []
        with last_line(lambda: _interrupted(levels, connections)):
            for count in connections:
                note(f"{count} connections ({len(levels) + 1} of {len(connections)}) ...")
                levels.append(_measure(loop, load, count, requests))
    if as_json:
        print_json({"model": model, "levels": [_facts(level) for level in levels]})
    else:
        console().print(_table(model, levels))


def _interrupted(levels: Sequence[BenchLevel], connections: Sequence[int]) -> str:
    done = f"interrupted; {len(levels)} of {len(connections)} numbers of connections were measured"
    if not levels:
        return done
    rates = ", ".join(f"{level.served_per_s:.2f}/s at {level.connections}" for level in levels)
    return f"{done} ({rates}). --connections N measures one of them"


def _facts(level: BenchLevel) -> dict[str, float | int | None]:
    has_latencies = bool(level.latencies_s)
    return {
        "connections": level.connections,
        "http_per_s": round(level.served_per_s, 3),
        "bare_per_s": round(level.bare_per_s, 3),
        "ratio": round(level.ratio, 3),
        "p50_ms": round(level.percentile_ms(50), 1) if has_latencies else None,
        "p95_ms": round(level.percentile_ms(95), 1) if has_latencies else None,
        "failed": level.failures,
        "generator_share": round(level.generator_share, 3),
    }


def _measure(loop: BareLoop, load: LoadTestJob, connections: int, requests: int) -> BenchLevel:
    level = BenchLevel(connections)
    bare_requests = -(-requests // ROUNDS)
    # At least two requests per connection, as the first and the last wave are not at full load.
    served_requests = max(bare_requests, 2 * connections)
    heavy_load = load.model_copy(update={"connections": connections, "requests": served_requests})
    for _ in range(ROUNDS):
        level.bare_s += loop.run_s(bare_requests)
        level.bare_requests += bare_requests
        level.add(_load(heavy_load))
    return level


def _load(job: LoadTestJob) -> LoadTestReport:
    command = [sys.executable, "-m", "sightline.cli.load_generator"]
    done = subprocess.run(command, input=job.model_dump_json(), capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise CommandError(f"the load client failed: {done.stderr.strip()}")
    return LoadTestReport.model_validate_json(done.stdout)


def _table(model: str, levels: list[BenchLevel]) -> Table:
    caption = "bare = decode, infer and encode one after the other in one process, same code and weights"
    if limited := [level for level in levels if level.generator_share > MAX_GENERATOR_SHARE]:
        counts = ", ".join(str(level.connections) for level in limited)
        caption += f"\nAt {counts} connections the load generator was the limit: the server can do more."
    table = Table(title=f"{model}: requests per second", caption=caption)
    for heading in ("connections", "HTTP", "bare", "ratio", "p50 ms", "p95 ms", "failed"):
        table.add_column(heading, justify="right")
    for level in levels:
        rates = (f"{level.served_per_s:.2f}", f"{level.bare_per_s:.2f}", f"{level.ratio:.2f}")
        latencies = (f"{level.percentile_ms(50):.0f}", f"{level.percentile_ms(95):.0f}")
        table.add_row(str(level.connections), *rates, *latencies, str(level.failures))
    return table


@contextmanager
def running_service(model: str, env: Mapping[str, str]) -> Iterator[str]:
    """Runs one model service without a gateway inside the block; yields its address when it is ready."""
    port = free_port()
    # The load client calls the service directly, without the gateway's credential.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_FLEET_CREDENTIAL")}
    complete_env = {**inherited, **env, **listen_on(LOOPBACK, port)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            with_parent_death(serve_command(model)),
            env=complete_env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://{LOOPBACK}:{port}"
            _await_ready(address, process, log)
            yield address
        finally:
            _end(process)


def _await_ready(address: str, process: "subprocess.Popen[bytes]", log: IO[str]) -> None:
    give_up_at = time.monotonic() + READY_S
    while not _is_ready(address):
        if process.poll() is not None or time.monotonic() > give_up_at:
            log.seek(0)
            raise CommandError(f"the service did not become ready:\n{log.read()[-2000:]}")
        time.sleep(0.1)


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/readyz", trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
