"""Grafana's dashboards as code. Run this file to write them to dashboards/."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8
QUANTILES = (0.5, 0.95, 0.99)
OBJECTIVE_ERRORS = 0.005  # as in deploy/prometheus/rules

Query = tuple[str, str]
"""An expression and its legend."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of a dashboard. `unit` is Grafana's id; `help_text` interprets the panel."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    help_text: str = ""
    kind: str = "timeseries"
    width: int = 8
    line: float | None = None  # threshold
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; with `by_model`, a variable selects the model."""

    name: str
    title: str
    panels: Sequence[Panel]
    by_model: bool = False


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def share(part: str, whole: str, by: str, where_part: str, where_whole: str | None = None) -> str:
    """The whole has the part's condition by default."""
    return f"{rate(part, by, where_part)} / {rate(whole, by, where_part if where_whole is None else where_whole)}"


def quantiles(metric: str, by: str, where: str = "", *, which: Sequence[float] = QUANTILES) -> list[Query]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", ")) if by else ""
    group = f"{by}, le" if by else "le"
    return [
        (f"histogram_quantile({q}, {rate(f'{metric}_bucket', group, where)})", f"{legend} p{q * 100:g}".strip())
        for q in which
    ]


def by_priority(metric: str, where: str = "") -> str:
    """Every gateway reports the same queues."""
    return f"max by (model, priority) ({metric}{{{where}}})"


FLEET = Dashboard(
    "fleet",
    "Sightline: fleet",
    [
        Panel(
            "Ready replicas",
            [("max by (model) (sightline_gateway_ready_replicas)", "{{model}}")],
            kind="stat",
            width=12,
            help_text="As reported by the gateway; 0 is an outage, unless the model scales to zero.",
        ),
        Panel(
            "Provider",
            [
                (
                    "count by (model, provider, precision) (sightline_provider_info)",
                    "{{model}} {{provider}} {{precision}}",
                )
            ],
            kind="stat",
            width=12,
        ),
        Panel("Requests", [(rate("sightline_gateway_requests_total", "model"), "{{model}}")], "reqps", stacked=True),
        Panel(
            "Replies by status",
            [(rate("sightline_gateway_requests_total", "status"), "{{status}}")],
            "reqps",
            stacked=True,
        ),
        Panel(
            "Time to the first byte, p95",
            quantiles("sightline_gateway_upstream_duration_seconds", "model", which=(0.95,)),
            "s",
            help_text="From the start of the request to the replica, without the client's upload.",
        ),
        Panel("In flight", [("sum by (model) (sightline_gateway_upstream_in_flight)", "{{model}}")], stacked=True),
        Panel(
            "Refused by the gateway",
            [(rate("sightline_gateway_rejected_total", "model, code"), "{{model}} {{code}}")],
            "reqps",
            help_text="not_ready and overloaded are server errors, the others client errors.",
        ),
        Panel(
            "Sent to another replica",
            [(rate("sightline_gateway_retries_total", "model, reason"), "{{model}} {{reason}}")],
            "reqps",
        ),
        Panel(
            "Processor time",
            [("sum by (service) (rate(process_cpu_seconds_total[$__rate_interval]))", "{{service}}")],
            "percentunit",
            "1 is one core. The idle fleet uses about 4 % of a core.",
            stacked=True,
        ),
        Panel(
            "Memory",
            [
                ("sum by (service) (process_resident_memory_bytes)", "{{service}}"),
                ("max(sightline_redis_used_bytes)", "redis (data)"),
            ],
            "bytes",
            stacked=True,
        ),
        Panel("Oldest waiting job", [("model:sightline_jobs_oldest_age_seconds:max", "{{model}}")], "s"),
        Panel(
            "Bytes in and out",
            [
                (rate("sightline_gateway_received_bytes_total", "model"), "{{model}} in"),
                (rate("sightline_gateway_sent_bytes_total", "model"), "{{model}} out"),
            ],
            "Bps",
        ),
    ],
)

ONE = 'model="$model"'
MODEL = Dashboard(
    "model",
    "Sightline: one model",
    [
        *(
            Panel(
                f"Time by stage, p{q * 100:g}",
                quantiles("sightline_stage_duration_seconds", "stage", ONE, which=(q,)),
                "s",
                help_text="queue grows with too few replicas, decode and encode with too few cores.",
            )
            for q in QUANTILES
        ),
        Panel(
            "Batch size",
            [
                (
                    share("sightline_batch_size_sum", "sightline_batch_size_count", "model", ONE),
                    "mean",
                ),
                *quantiles("sightline_batch_size", "", ONE, which=(0.95,)),
            ],
            help_text="Grows with load: a free session never waits for a batch to fill.",
        ),
        Panel(
            "Samples queued or running", [(f"sum by (instance) (sightline_pending_samples{{{ONE}}})", "{{instance}}")]
        ),
        Panel("Batches", [(rate("sightline_batch_size_count", "instance", ONE), "{{instance}}")], "ops"),
        Panel(
            "Shed, dropped, failed",
            [
                (rate("sightline_shed_total", "model", ONE), "shed"),
                (rate("sightline_dropped_samples_total", "reason", ONE), "dropped: {{reason}}"),
                (rate("sightline_failed_samples_total", "model", ONE), "failed"),
            ],
            "ops",
        ),
        Panel(
            "Requests at each replica",
            [(f"sum by (replica) (sightline_gateway_upstream_in_flight{{{ONE}}})", "{{replica}}")],
        ),
        Panel(
            "Ready", [(f"sum by (instance, model) (sightline_ready{{{ONE}}})", "{{instance}}")], kind="state-timeline"
        ),
        Panel("Time to the first byte", quantiles("sightline_gateway_upstream_duration_seconds", "", ONE), "s"),
        Panel(
            "Provider",
            [
                (
                    f"sum by (instance, provider, precision) (sightline_provider_info{{{ONE}}})",
                    "{{instance}} {{provider}} {{precision}}",
                )
            ],
            kind="stat",
        ),
        Panel(
            "Running jobs",
            [(f"sum by (instance, priority) (sightline_jobs_in_flight{{{ONE}}})", "{{instance}} {{priority}}")],
        ),
    ],
    by_model=True,
)

QUEUE = Dashboard(
    "queue",
    "Sightline: queues",
    [
        Panel("Waiting", [(by_priority("sightline_jobs_waiting"), "{{model}} {{priority}}")], stacked=True),
        Panel(
            "Age of the oldest job",
            [(by_priority("sightline_jobs_oldest_age_seconds"), "{{model}} {{priority}}")],
            "s",
            line=300,
        ),
        Panel("Running", [(by_priority("sightline_jobs_running"), "{{model}} {{priority}}")], stacked=True),
        Panel("Retrying", [(by_priority("sightline_jobs_retrying"), "{{model}} {{priority}}")]),
        Panel("Dead letters", [(by_priority("sightline_jobs_dead"), "{{model}} {{priority}}")], line=1),
        Panel(
            "Job events",
            [
                (
                    f"max by (model, event) ({rate('sightline_jobs_events_total', 'instance, model, event')})",
                    "{{model}} {{event}}",
                )
            ],
            "ops",
        ),
        Panel(
            "Wait until the first start, p95",
            quantiles("sightline_job_queue_duration_seconds", "model, priority", which=(0.95,)),
            "s",
        ),
        Panel(
            "Duration of an attempt, p95", quantiles("sightline_job_run_duration_seconds", "model", which=(0.95,)), "s"
        ),
        Panel(
            "From submission to success, p95", quantiles("sightline_job_duration_seconds", "model", which=(0.95,)), "s"
        ),
        Panel(
            "Attempts by outcome",
            [(rate("sightline_job_attempt_ends_total", "model, end"), "{{model}} {{end}}")],
            "ops",
        ),
        Panel(
            "Redis", [("max(sightline_redis_used_bytes)", "data"), ("max(sightline_redis_up)", "reachable")], "bytes"
        ),
        Panel("Undelivered webhooks", [("max(sightline_webhooks_pending)", "pending")]),
    ],
)

ENDS = "sightline_job_attempt_ends_total"
REQUESTS = 'sightline_gateway_requests_total{status!="cancelled"}'
ERRORS = 'sightline_gateway_requests_total{status=~"5.."}'
SLO = Dashboard(
    "slo",
    "Sightline: objectives",
    [
        Panel(
            "Error budget left of 30 days",
            [
                (
                    f"1 - (sum by (model) (increase({ERRORS}[30d])) or 0 * sum by (model) (increase({REQUESTS}[30d])))"
                    f" / sum by (model) (increase({REQUESTS}[30d])) / {OBJECTIVE_ERRORS}",
                    "{{model}}",
                )
            ],
            "percentunit",
            "Share of the 0.5 % of requests that may fail with a server error.",
            kind="stat",
            width=24,
        ),
        *(
            Panel(
                f"Burn rate over {window}",
                [
                    (
                        f"(model:sightline_errors:ratio_rate{window} or 0 * model:sightline_requests:rate5m)"
                        f" / {OBJECTIVE_ERRORS}",
                        "{{model}}",
                    )
                ],
                help_text="A rate of 1 uses up the budget of 30 days in 30 days.",
                line=line,
                width=6,
            )
            for window, line in (("5m", 14.4), ("1h", 14.4), ("30m", 6), ("6h", 6))
        ),
        Panel(
            "Replies within 10 s",
            [
                (
                    share(
                        "sightline_gateway_upstream_duration_seconds_bucket",
                        "sightline_gateway_upstream_duration_seconds_count",
                        "model",
                        'le="10.0"',
                        "",
                    ),
                    "{{model}}",
                )
            ],
            "percentunit",
            width=12,
        ),
        Panel(
            "Successful jobs",
            [
                (
                    share(ENDS, ENDS, "model", 'end="succeeded"', ""),
                    "{{model}}",
                )
            ],
            "percentunit",
            width=12,
        ),
    ],
)

DASHBOARDS = (FLEET, MODEL, QUEUE, SLO)


def rendered(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": f"sightline-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["sightline"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {"type": "dashboards", "tags": ["sightline"], "title": "Sightline", "asDropdown": False, "keepTime": True}
        ],
        "templating": {"list": [MODEL_VARIABLE] if dashboard.by_model else []},
        "panels": laid_out(dashboard.panels),
    }


MODEL_VARIABLE: dict[str, Any] = {
    "name": "model",
    "label": "Model",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(sightline_gateway_ready_replicas, model)", "refId": "model"},
    "refresh": 2,
    "sort": 1,
}


def laid_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Places panels from left to right, in rows."""
    x = y = 0
    drawn = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": HEIGHT}
        drawn.append(drawn_panel(panel, number, place))
        x += panel.width
    return drawn


def drawn_panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom = {"fillOpacity": 20, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "timeseries":
        defaults["custom"] = custom
    if panel.line is not None:
        steps = [{"color": "green", "value": None}, {"color": "red", "value": panel.line}]
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}}
        custom["thresholdsStyle"] = {"mode": "line"}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.help_text,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": expr,
                "legendFormat": legend,
                "exemplar": True,
            }
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        text = json.dumps(rendered(dashboard), indent=2, ensure_ascii=False)
        (folder / f"{dashboard.name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    write(FOLDER)
