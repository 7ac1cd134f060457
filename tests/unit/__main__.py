"""`python -m tests.unit [PYTEST ARGUMENTS]`: the unit tests, in as many processes of pytest as there are cores.

Each process has its share of the files, and collects no others: workers of xdist collect all of them each, and report every phase
of every test to a process of its own, which is a third of all the work for tests as small as these. The first process has the
terminal; what the others print comes when it is done. Arguments that begin with "tests" choose, and run in one process.

Without arguments the CPU time of all of it is limited, so that it stays something to run after every change.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tests.support.budget import over_total
from tests.support.shares import one_code, shares

__all__ = ["main"]

ROOT = Path(__file__).parents[2]
UNIT = "tests/unit"
LIMIT = 8
"""Processes at most: each imports the packages, which takes as long as a hundred tests."""


def main(arguments: Sequence[str]) -> int:
    """pytest's exit code."""
    # What pytest compiles is kept, also where the environment says not to: it is a third of all the work.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if any(argument.startswith("tests") for argument in arguments):
        return subprocess.run(_pytest(arguments), cwd=ROOT, check=False).returncode
    began = time.monotonic()
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in (ROOT / UNIT).rglob("test_*.py")}
    code = _run([[*files, *arguments] for files in shares(sizes, min(_cores(), LIMIT))])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    trouble = None if arguments else over_total(cpu)
    print(f"unit: {time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU{': ' if trouble else ''}{trouble or ''}", flush=True)  # noqa: T201
    return code or (1 if trouble else 0)


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pytest(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *arguments]


def _run(commands: Sequence[Sequence[str]]) -> int:
    running: list[tuple[subprocess.Popen[bytes], IO[bytes] | None]] = []
    try:
        for number, arguments in enumerate(commands):
            # A cache for each, so that --last-failed knows the failures of all.
            command = _pytest([*arguments, "--override-ini", f"cache_dir=.pytest_cache/unit-{number}"])
            output: IO[bytes] | None = tempfile.TemporaryFile() if running else None  # noqa: SIM115  closed below
            running.append((subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output), output))
        return one_code([_ended(process, output) for process, output in running])
    except KeyboardInterrupt:  # the others have had it as well, and say where they were
        return one_code([_ended(process, output) for process, output in running])
    finally:
        for process, output in running:
            process.kill()
            process.wait()
            if output is not None:
                output.close()


def _ended(process: subprocess.Popen[bytes], output: IO[bytes] | None) -> int:
    code = process.wait()
    if output is not None:
        output.seek(0)
        sys.stdout.buffer.write(output.read())
        sys.stdout.buffer.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
