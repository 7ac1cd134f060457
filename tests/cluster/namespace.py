"""Runs a command in new network, mount and process namespaces. The cluster tests need them; `python -m tests` creates them.

All processes that the command starts end with it, because the kernel kills a process namespace when its first process ends.
Root is not needed if the kernel permits user namespaces.
"""

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence

__all__ = ["INSIDE", "blocked", "run_inside"]

INSIDE = "WEIR_CLUSTER_NAMESPACE"
"""Set for the command; without it cluster tests do not run, so that they never change the machine's own network."""

_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
# unshare ignores SIGTERM while it waits, so it must be killed when its parent ends.
_UNSHARE = (
    "setpriv", "--pdeathsig", "KILL", "--", "unshare", *_AS_ROOT, "--net", "--mount", "--pid", "--fork", "--mount-proc",
    "--kill-child", "--propagation", "private", "--", "sh", "-c",
)  # fmt: skip
# Pods mount under /run and /etc; what they create there must not be visible outside.
_PREPARE = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/weir/etc
cp -r -d --preserve=mode,links /etc/. /run/weir/etc 2>/run/weir/unreadable || true
mount --bind /run/weir/etc /etc
ip link set lo up
"""
# Kernel features that a cluster needs.
_TRY = (
    _PREPARE
    + """
echo 1 >/proc/sys/net/ipv4/ip_forward
ip netns add pod
ip link add pod type veth peer name eth0 netns pod
nft add table ip weir
nft add chain ip weir nat '{ type nat hook output priority -100; }'
echo '# of our own' >/etc/resolv.conf
"""
)
# The shell stays as the first process, because that has to adopt orphaned processes.
_ENTER = _PREPARE + '"$@"'


def blocked() -> str | None:
    """Why commands cannot be run in namespaces; None if they can."""
    path = _environment()["PATH"]
    missing = [tool for tool in ("setpriv", "unshare", "nsenter", "mount", "ip", "nft") if shutil.which(tool, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run([*_UNSHARE, _TRY], env=_environment(), check=False, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"this machine permits no namespaces ({tried.stderr.strip() or 'no reason given'})"


def run_inside(command: Sequence[str]) -> int:
    """Runs the command and returns its exit code."""
    with _interruptions_left_to_it():
        return subprocess.run([*_UNSHARE, _ENTER, "sh", *command], env=_environment(), check=False).returncode


def _environment() -> dict[str, str]:
    # Some programs are in /usr/sbin, which is not on every user's PATH. Inside, the user is root, but file owners do not change.
    return {**os.environ, INSIDE: "1", "LOGNAME": getpass.getuser(), "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


@contextlib.contextmanager
def _interruptions_left_to_it() -> Iterator[None]:
    """Ignore Ctrl-C here, because the command gets it as well: it ends in its own way, and this process after it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
