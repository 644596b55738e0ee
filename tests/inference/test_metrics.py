from prometheus_client import CollectorRegistry, generate_latest

from sightline.inference.metrics import MetricsObserver, ServiceMetrics
from tests.http.test_metrics import assert_in_base_units


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
    ServiceMetrics(registry).stage_duration_s.labels("a", "read").observe(0.2)
    assert_in_base_units(registry)


def test_observer_counts_for_its_model() -> None:
    registry = CollectorRegistry()
    observer = MetricsObserver(ServiceMetrics(registry), "a")
    observer.ran(4)
    observer.pending(3)
    observer.dropped("expired")
    observer.failed()
    names = ("batch_size_sum", "pending_samples", "failed_samples_total")
    assert [registry.get_sample_value(f"sightline_{name}", {"model": "a"}) for name in names] == [4, 3, 1]
    assert registry.get_sample_value("sightline_dropped_samples_total", {"model": "a", "reason": "expired"}) == 1
