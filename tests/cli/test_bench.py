import math

from sightline.cli.bench import BenchLevel
from sightline.cli.load_generator import LoadTestReport


def test_the_ratio_is_of_requests_per_second() -> None:
    level = BenchLevel(connections=16, bare_requests=10, bare_s=5.0)
    level.add(LoadTestReport(elapsed_s=2.0, latencies_s=[0.5] * 4, failures={}))
    level.add(LoadTestReport(elapsed_s=2.0, latencies_s=[1.5] * 8, failures={}))
    assert (level.served_per_s, level.bare_per_s, level.ratio) == (3.0, 2.0, 1.5)
    assert (level.percentile_ms(5), level.percentile_ms(95)) == (500, 1500)


def test_failures_do_not_count_as_throughput() -> None:
    level = BenchLevel(connections=1, bare_requests=1, bare_s=1.0)
    level.add(LoadTestReport(elapsed_s=1.0, latencies_s=[], failures={503: 2, 0: 1}))
    assert (level.served_per_s, level.failures) == (0.0, 3)
    assert math.isnan(level.percentile_ms(50))
