"""Runs a command in network, mount and process namespaces of its own: `python -m tests.cluster.namespace COMMAND...`.

Whatever the command starts ends with it, however it ends: the kernel kills a process namespace whose first process is gone.
Says why when the machine does not permit namespaces, and fails then, unless WEIR_SKIP_CLUSTER=1 asks to skip.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["INSIDE", "main"]

INSIDE = "WEIR_CLUSTER_NAMESPACE"
"""Set for the command, so that nothing of the cluster tests ever touches the machine's own network."""

# unshare ignores SIGTERM while it waits, so it must be killed when its parent goes.
UNSHARE = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--mount-proc",
    "--kill-child",
    "--propagation",
    "private",
)
# Pods mount under /run, /etc and /var; what they create there must not be seen outside.
_PREPARE = """
set -e
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/weir/etc/upper /run/weir/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/weir/etc/upper,workdir=/run/weir/etc/work overlay /etc
exec "$@"
"""


def main(command: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    reason = _not_permitted()
    if reason is None:
        environment = {**os.environ, INSIDE: "1"}
        return subprocess.run([*UNSHARE, "sh", "-c", _PREPARE, "sh", *command], env=environment, check=False).returncode
    if os.environ.get("WEIR_SKIP_CLUSTER") == "1":
        _say(f"skipped, as asked: {reason}")
        return 0
    _say(f"cannot run: {reason}. WEIR_SKIP_CLUSTER=1 skips these tests.")
    return 1


def _not_permitted() -> str | None:
    missing = [tool for tool in ("setpriv", "unshare", "nsenter", "ip", "nft", "mount") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run([*UNSHARE, "sh", "-c", _PREPARE, "sh", "true"], check=False, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"this machine permits no namespaces ({tried.stderr.strip() or 'no reason given'})"


def _say(line: str) -> None:
    print(f"cluster-test: {line}", file=sys.stderr)  # noqa: T201 - what a command has to say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
