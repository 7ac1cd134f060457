"""`python -m tests [PYTEST ARGUMENTS]`: one run of pytest, inside namespaces of its own where the cluster tests can run in them.

Arguments that begin with "tests" choose; without any, all tests run. Where the cluster tests are wanted and cannot run, the
others do, and one test in their place says why: it fails, or is skipped when WEIR_SKIP_CLUSTER=1 asks for that, or when go,
which builds the control plane, is not there and nobody has asked for them by name.

Many tests mostly wait, those of the cluster above all, so where all tests run, three workers of one pytest run them: one has the
cluster, two the rest.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.cluster.namespace import blocked, run_inside
from tests.cluster.outside import OBSTACLE, SKIP
from tests.cluster.tools import GoMissing, ToolsMissing, build

__all__ = ["CLUSTER", "choose", "main"]

ROOT = Path(__file__).parents[1]
CLUSTER = "tests/cluster"
PACKAGES = ("nftables", "iproute2")
"""Of Debian: addresses of Services are translated by nftables, pods' networks are made by iproute2."""
WITH_A_VALUE = ("--ignore", "--ignore-glob", "--deselect", "-k", "-m")
"""Options of pytest whose next word is no choice, although it may look like one."""
SIDE_BY_SIDE = ("--numprocesses", "3", "--dist", "loadscope", "--no-loadscope-reorder")
"""Which has which tests is said in tests/conftest.py."""
BUILDERS = ("tools/clients", "tools/kustomize", "tools/helm")
"""What tests run and would fetch; inside there is no network."""


class Wanted(NamedTuple):
    """What is to be run."""

    arguments: list[str]
    cluster: bool
    named: bool
    """Whether the cluster tests were asked for by name."""


def choose(arguments: Sequence[str]) -> Wanted:
    """What these arguments ask for."""
    paths = [
        argument.rstrip("/")
        for before, argument in pairwise(["", *arguments])
        if argument.startswith("tests") and before not in WITH_A_VALUE
    ]
    named = any(path.startswith(CLUSTER) for path in paths)
    return Wanted([*([] if paths else ["tests"]), *arguments], cluster=named or not paths or "tests" in paths, named=named)


def main(arguments: Sequence[str]) -> int:
    """pytest's exit code."""
    # What Python compiles is kept, also where the environment says not to: tests start hundreds of processes of the same code.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = choose(arguments)
    command = [sys.executable, "-m", "pytest", *wanted.arguments]
    if not wanted.cluster:
        return _run(command)
    if os.environ.get(SKIP) == "1":
        return _run(command, obstacle="skipped, as asked")
    try:
        _prepare()
    except GoMissing as error:
        return _run(command, obstacle=str(error), skip=not wanted.named)
    except ToolsMissing as error:
        return _run(command, obstacle=str(error))
    return run_inside(command if wanted.named else [*command, *SIDE_BY_SIDE])


def _prepare() -> None:
    """Everything that the cluster tests need. Raises ToolsMissing."""
    _step("tools/packages", *PACKAGES)
    reason = blocked()
    if reason is not None:
        raise ToolsMissing(reason)
    build()
    for program in BUILDERS:
        _step(program)


def _step(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        raise ToolsMissing(f"{' '.join(command)} failed")


def _run(command: Sequence[str], *, obstacle: str = "", skip: bool = False) -> int:
    environment = dict(os.environ)
    if obstacle:
        print(f"tests: without those on a real control plane: {obstacle}", file=sys.stderr, flush=True)  # noqa: T201
        environment |= {OBSTACLE: obstacle} | ({SKIP: "1"} if skip else {})
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
