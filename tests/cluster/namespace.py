"""Network, mount and process namespaces of one's own for a command: what `make cluster-test` runs everything in.

Whatever the command starts ends with it, however it ends: the kernel kills a process namespace whose first process is gone.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence

__all__ = ["INSIDE", "blocked", "run_inside"]

INSIDE = "WEIR_CLUSTER_NAMESPACE"
"""Set for the command, so that nothing of the cluster tests ever touches the machine's own network."""

# unshare ignores SIGTERM while it waits, so it must be killed when its parent goes.
_UNSHARE = (
    "setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
    "--propagation", "private", "--", "sh", "-c",
)  # fmt: skip
# Pods mount under /run and /etc; what they create there must not be seen outside.
_PREPARE = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/weir/etc/upper /run/weir/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/weir/etc/upper,workdir=/run/weir/etc/work overlay /etc
"""
_ENTER = _PREPARE + 'ip link set lo up\nexec "$@"'


def blocked() -> str | None:
    """Why no command can be run this way; None when it can."""
    missing = [tool for tool in ("setpriv", "unshare", "nsenter", "mount") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run([*_UNSHARE, _PREPARE], check=False, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"this machine permits no namespaces ({tried.stderr.strip() or 'no reason given'})"


def run_inside(command: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    environment = {**os.environ, INSIDE: "1"}
    return subprocess.run([*_UNSHARE, _ENTER, "sh", *command], env=environment, check=False).returncode
