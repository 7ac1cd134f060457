"""What is expensive to import is imported only where it is used."""

from __future__ import annotations

import subprocess
import sys


def test_no_client_is_imported_where_kubernetes_is_not_used() -> None:
    code = (
        "import sys, interceptor.server, scaler.server, fleet.discovery.kubernetes.backends; "
        "sys.exit(any(name.partition('.')[0] in ('kubernetes', 'aiohttp') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
