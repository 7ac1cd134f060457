"""What h2load and ghz tell of a run, and that a failed request is no figure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.http2 import grpc_outcome, http2_outcome
from tests.bench.processes import BenchError
from tests.bench.wrk import Outcome

LOG = "1\t200\t1000\n2\t200\t3000\n3\t200\t2000\n4\t200\t9000\n"
"""When each request began, its status, and its microseconds."""
TOLD: dict[str, Any] = {
    "count": 10, "total": 2_000_000_000, "statusCodeDistribution": {"OK": 10},
    "latencyDistribution": [{"percentage": 50, "latency": 1_500_000}, {"percentage": 99, "latency": 4_000_000}],
}  # fmt: skip


def test_requests_over_http2() -> None:
    assert http2_outcome(LOG, 2, 80) == Outcome(4, 2, 2.0, 9.0)


@pytest.mark.parametrize("log", ["", LOG + "5\t503\t10\n", LOG + "5\t-1\t10\n"])
def test_a_failed_request_fails_the_run(log: str) -> None:
    with pytest.raises(BenchError, match="h2load on port 80"):
        http2_outcome(log, 2, 80)


def test_calls_of_grpc() -> None:
    assert grpc_outcome(TOLD, 80) == Outcome(10, 2.0, 1.5, 4.0)


@pytest.mark.parametrize("statuses", [{}, None, {"OK": 9, "Unavailable": 1}])
def test_a_failed_call_fails_the_run(statuses: dict[str, int] | None) -> None:
    with pytest.raises(BenchError, match="ghz on port 80"):
        grpc_outcome(TOLD | {"statusCodeDistribution": statuses}, 80)
