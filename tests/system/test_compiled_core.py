"""The core of HTTP/2, compiled by mypyc in a copy of the source, passes its tests, and some of the interceptor on sockets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.full import FULL

ROOT = Path(__file__).parents[2]
COPIED = ("fleet", "interceptor", "scaler", "controller", "weir", "protos", "tests")
TESTS = ("tests/unit/interceptor/http2", "tests/wire/test_http2.py", "tests/wire/test_http2_backends.py")


def _run(copy: Path, *command: str) -> None:
    """Run a module of Python with the copy, and nothing of this tree, in its path."""
    settings = {"PYTHONPATH": str(copy), "MYPYC_OPT_LEVEL": "0", "WEIR_FULL_SIZE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=copy, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.mark.timeout(3600)
@pytest.mark.skipif(not FULL, reason="compiling takes minutes: WEIR_FULL_SIZE=1")
@pytest.mark.skipif(shutil.which(os.environ.get("CC", "cc")) is None, reason="no C compiler")
def test_the_compiled_core_passes_the_tests(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in COPIED:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    core = sorted(str(path.relative_to(copy)) for path in (copy / "interceptor/http2/core").glob("*.py"))
    _run(copy, "mypyc", "--ignore-missing-imports", *core)
    check = "import sys; from tests.support.compiled import COMPILED; sys.exit(not COMPILED)"
    assert (
        subprocess.run(
            [sys.executable, "-c", check], cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, check=False
        ).returncode
        == 0
    )
    _run(copy, "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
