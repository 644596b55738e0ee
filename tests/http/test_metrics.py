from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open

from sightline import __version__
from sightline.http.metrics import HttpMetrics, create_registry
from sightline.inference.metrics import ServiceMetrics


def test_registry_has_build_information() -> None:
    assert 'sightline_build_info{python="3.' in generate_latest(create_registry()).decode()
    assert f'version="{__version__}"' in generate_latest(create_registry()).decode()


def test_registries_are_independent() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    ServiceMetrics(first).shed.labels("a").inc()
    ServiceMetrics(second)
    assert "sightline_shed_total{" in generate_latest(first).decode()
    assert "sightline_shed_total{" not in generate_latest(second).decode()


def test_counters_start_at_zero() -> None:
    registry = CollectorRegistry()
    ServiceMetrics(registry).initialise("a")
    assert registry.get_sample_value("sightline_shed_total", {"model": "a"}) == 0
    assert registry.get_sample_value("sightline_dropped_samples_total", {"model": "a", "reason": "expired"}) == 0


def test_names_are_in_base_units_and_valid_as_open_metrics() -> None:
    registry = CollectorRegistry()
    HttpMetrics(registry)
    ServiceMetrics(registry).stage_duration_s.labels("a", "read").observe(0.2)
    families = {family.name for family in registry.collect()}
    assert all(name.startswith("sightline_") for name in families)
    assert not [name for name in families if name.endswith(("_ms", "_milliseconds"))]
    assert generate_open(registry).decode().endswith("# EOF\n")
