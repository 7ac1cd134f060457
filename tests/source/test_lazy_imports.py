"""What is expensive to import is imported only where it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DISCOVERY = Path(__file__).parents[2] / "fleet/discovery/kubernetes"


def test_no_client_is_imported_where_kubernetes_is_not_used() -> None:
    discovery = [f"fleet.discovery.kubernetes.{path.stem}" for path in sorted(DISCOVERY.glob("[a-z]*.py"))]
    assert discovery
    code = (
        f"import sys, interceptor.server, scaler.server, {', '.join(discovery)}; "
        "sys.exit(any(name.partition('.')[0] in ('kubernetes', 'aiohttp') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_begins_without_what_few_commands_need() -> None:
    """An HTTP client, YAML, gRPC and the models of files would take most of the time of `weir ps`, and of each completion."""
    heavy = ("fastapi", "grpc", "httpx", "kubernetes", "msgspec", "pydantic", "rich", "ssl", "yaml")
    code = f"import sys, weir.cli; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {{*{heavy!r}}}))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []
