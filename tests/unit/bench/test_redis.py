"""What redis-benchmark writes, read."""

from __future__ import annotations

import pytest

from tests.bench.processes import BenchError
from tests.bench.redis import redis_outcome

HEADING = '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'


def test_figures() -> None:
    found = redis_outcome(f'{HEADING}\n"GET","50000.00","0.499","0.096","0.319","1.319","3.255","9.167"\n', 100_000, 6379)
    assert (found.requests, found.seconds, found.p50_ms, found.p99_ms) == (100_000, 2.0, 0.319, 3.255)


@pytest.mark.parametrize(
    "output",
    [
        "",
        HEADING,
        f'{HEADING}\n"GET","0","0","0","0","0","0","0"',
        f'{HEADING}\n"SET","1","1","1","1","1","1","1"',
        "WARNING: refused",
    ],
)
def test_whatever_is_no_figure_fails_the_run(output: str) -> None:
    with pytest.raises(BenchError, match="redis-benchmark on port 6379 told no figures"):
        redis_outcome(output, 10, 6379)
