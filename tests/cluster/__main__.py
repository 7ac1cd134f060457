"""`python -m tests.cluster [PYTEST ARGUMENTS]`: builds what is missing, and runs these tests in namespaces of their own.

Says why when the machine does not permit it, and fails then, unless WEIR_SKIP_CLUSTER=1 asks to skip.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.cluster.cluster import ROOT
from tests.cluster.namespace import blocked, run_inside
from tests.cluster.tools import ToolsMissing, build

PACKAGES = ("nftables", "iproute2", "curl")
"""Of Debian: Services are translated by nftables, pods' networks made by iproute2."""
LONGEST_TEST = 500
"""Seconds."""


def main(arguments: Sequence[str]) -> int:
    try:
        reason = blocked()
        if reason is None:
            build()
    except ToolsMissing as error:
        reason = str(error)
    if reason is not None:
        return _refuse(reason)
    for step in (["tools/packages", *PACKAGES], ["tools/clients"]):
        code = subprocess.run(step, cwd=ROOT, check=False).returncode
        if code:
            return code
    return run_inside([sys.executable, "-m", "pytest", "tests/cluster", "--timeout", str(LONGEST_TEST), *arguments])


def _refuse(reason: str) -> int:
    skipped = os.environ.get("WEIR_SKIP_CLUSTER") == "1"
    advice = "skipped, as asked" if skipped else "cannot run (WEIR_SKIP_CLUSTER=1 skips these tests)"
    print(f"cluster-test: {advice}: {reason}", file=sys.stderr)  # noqa: T201 - what a command has to say
    return 0 if skipped else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
