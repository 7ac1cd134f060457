"""What a soak sees of the processes that it tests, again and again; and whether they stayed as they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import psutil

from tests.system.harness import Up, fetch

__all__ = ["Sample", "growth", "look"]

MEBI = 1 << 20
MOST_GROWTH = 0.05
"""Share by which memory may be larger at the end than after the warm-up."""


@dataclass(frozen=True)
class Sample:
    """The interceptor's counts, and the memory of every component, in MiB."""

    seconds: float
    rss: dict[str, float]
    descriptors: int
    tasks: int
    clients: int
    leases: int
    early_bytes: int


async def look(up: Up, seconds: float) -> Sample:
    """Take a sample."""
    (interceptor,) = up.components("interceptor")
    pids = {component["kind"]: int(component["pid"]) for component in up.components()} | {"engine": up.process.pid}
    text = (await fetch(interceptor["diagnostics_port"], "localhost", "/metrics")).body
    queue = json.loads((await fetch(interceptor["diagnostics_port"], "localhost", "/queue")).body)
    return Sample(
        seconds=seconds,
        rss={kind: psutil.Process(pid).memory_info().rss / MEBI for kind, pid in sorted(pids.items())},
        descriptors=psutil.Process(pids["interceptor"]).num_fds(),
        tasks=_gauge(text, "weir_interceptor_tasks"),
        clients=_gauge(text, "weir_interceptor_client_connections"),
        leases=sum(size["held"] + size["in_flight"] + size["connections"] for size in queue.values()),
        early_bytes=_gauge(text, "weir_interceptor_early_bytes"),
    )


def _gauge(text: str, name: str) -> int:
    return next(int(float(line.split()[1])) for line in text.splitlines() if line.startswith(name + " "))


def growth(samples: Sequence[Sample], kind: str) -> float:
    """By what share a component's memory grew: the last fifth of the samples to the first fifth, each by its median."""
    part = max(1, len(samples) // 5)
    first, last = (median(sample.rss[kind] for sample in some) for some in (samples[:part], samples[-part:]))
    return last / first - 1
