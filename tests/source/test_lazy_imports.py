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
