"""h2spec, an independent judge of RFC 9113 and RFC 7541, on the core of HTTP/2: all of its cases, without an exception."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
H2SPEC = ROOT / "build" / "tools" / "bin" / "h2spec"
CASES = 146


@pytest.mark.skipif(not H2SPEC.exists(), reason="h2spec is built by `make clients`, which needs go")
def test_every_case() -> None:
    server = subprocess.Popen([sys.executable, "-m", "tests.support.h2_echo"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        judged = subprocess.run(
            [H2SPEC, "--strict", "--host", "127.0.0.1", "--port", port], capture_output=True, text=True, check=False, timeout=300
        )
        server.terminate()
    assert re.search(rf"{CASES} tests, {CASES} passed, 0 skipped, 0 failed", judged.stdout), judged.stdout
    assert judged.returncode == 0
