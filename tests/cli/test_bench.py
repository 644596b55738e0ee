import math

import pytest

from sightline.cli.bench import BenchLevel, _table, bench
from sightline.cli.load_generator import LoadTestReport
from sightline.cli.output import CommandError


def test_the_ratio_is_of_requests_per_second() -> None:
    level = BenchLevel(connections=16, bare_requests=10, bare_s=5.0)
    level.add(LoadTestReport(elapsed_s=2.0, cpu_s=0.5, latencies_s=[0.5] * 4, failures={}))
    level.add(LoadTestReport(elapsed_s=2.0, cpu_s=0.5, latencies_s=[1.5] * 8, failures={}))
    assert (level.served_per_s, level.bare_per_s, level.ratio) == (3.0, 2.0, 1.5)
    assert (level.percentile_ms(5), level.percentile_ms(95)) == (500, 1500)
    assert level.generator_share == 0.25


@pytest.mark.parametrize(("cpu_s", "is_named"), [(0.7, False), (0.9, True)])
def test_table_says_where_the_load_generator_was_the_limit(cpu_s: float, is_named: bool) -> None:
    level = BenchLevel(connections=16, bare_requests=1, bare_s=1.0)
    level.add(LoadTestReport(elapsed_s=1.0, cpu_s=cpu_s, latencies_s=[0.1], failures={}))
    caption = str(_table("inpaint", [level]).caption)
    assert ("At 16 connections the load generator was the limit" in caption) == is_named


def test_invalid_address_is_explained_before_anything_is_measured() -> None:
    with pytest.raises(CommandError, match="does not begin with http"):
        bench("inpaint", requests=1, connections=(1,), url="localhost:8080", api_key=None)


def test_failures_do_not_count_as_throughput() -> None:
    level = BenchLevel(connections=1, bare_requests=1, bare_s=1.0)
    level.add(LoadTestReport(elapsed_s=1.0, cpu_s=0.1, latencies_s=[], failures={503: 2, 0: 1}))
    assert (level.served_per_s, level.failures) == (0.0, 3)
    assert math.isnan(level.percentile_ms(50))
