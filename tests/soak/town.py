"""The apps of a soak, as a file for `weir up` that is edited while it runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

__all__ = ["SLEEPERS", "document"]

SLEEPERS = 3
"""Apps that go to zero and back again and again."""
_POD = f"exec {shlex.join([sys.executable, '-I', '-S', str(Path(__file__).parent / 'pod.py')])}"


def document(edition: int, *, tcp: int, udp: int) -> dict[str, Any]:
    """The file in its so-manieth edition: one app comes and goes, and every fourth time the steady one is rolled out anew. Two
    are reached at these ports."""
    apps = [
        _app("steady", min=2, max=2, target=100, env={"EDITION": str(edition // 4)}, drain=3),
        _app("faulty", min=1, max=1, target=1000, env={"FAULTS": "0.3"}, timeouts={"response_header": 1, "idle": 1}),
        *(_app(f"sleepy{number}", max=2, target=5, env={"START_SECONDS": "0.1"}) for number in range(SLEEPERS)),
        _app("page", max=1, target=5, placeholder={"everyone": True}, env={"START_SECONDS": "0.5"}, maintenance=edition % 5 == 4),
        _app(
            "session",
            min=2,
            max=2,
            target=5,
            affinity={"header": "x-session"},
            readiness_path="/fill/ready/1",
            server_timing=True,
        ),
        _app("narrow", min=1, max=1, target=1, backend_concurrency=1),
        _app("fallen", max=1, target=5, command="sleep 1000", timeouts={"readiness": 0.5}, fallback="steady"),
        _app("never", max=1, target=5, command="sleep 1000", timeouts={"readiness": 1}),
        _app("bytes", max=2, target=20, env={"SPEAKS": "tcp", "START_SECONDS": "0.1"}, ports=[{"port": tcp}]),
        _app(
            "datagrams",
            max=2,
            target=20,
            env={"SPEAKS": "udp", "START_SECONDS": "0.1"},
            ports=[{"port": udp, "protocol": "UDP", "idle": 1}],
            readiness={"udp": True},
        ),
    ]
    if edition % 2:
        apps.append(_app("extra", max=1, target=5))
    # Short, so that what may rest does not count as leaked when all is over.
    interceptor = {"backend_idle_timeout": 2.0, "head_timeout": 2.0, "log_level": "error"}
    return {"poll_interval": 0.5, "scaler": {"concurrency_window": 1.0}, "interceptor": interceptor, "apps": apps}


def _app(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "hosts": [f"{name}.test"], "command": _POD, "cooldown": 1, "activity_period": 1, **fields}
