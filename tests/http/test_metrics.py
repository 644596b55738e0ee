from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_open

from sightline import __version__
from sightline.http.metrics import HttpMetrics, create_registry


def test_registry_has_build_information() -> None:
    assert 'sightline_build_info{python="3.' in generate_latest(create_registry()).decode()
    assert f'version="{__version__}"' in generate_latest(create_registry()).decode()


def test_names_are_in_base_units_and_valid_as_open_metrics() -> None:
    registry = CollectorRegistry()
    HttpMetrics(registry).request_duration_s.labels("GET", "/livez", "200").observe(0.2)
    assert_in_base_units(registry)


def assert_in_base_units(registry: CollectorRegistry) -> None:
    families = {family.name for family in registry.collect()}
    assert families
    assert all(name.startswith("sightline_") for name in families)
    assert not [name for name in families if name.endswith(("_ms", "_milliseconds"))]
    assert generate_open(registry).decode().endswith("# EOF\n")
