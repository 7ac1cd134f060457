"""Network, mount and process namespaces of one's own for a command. The cluster tests need them; `python -m tests` makes them.

Whatever the command starts ends with it, however it ends: the kernel kills a process namespace whose first process is gone.
Nobody has to be root for this where the kernel lets users make namespaces of users.
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
"""Set for the command, so that nothing of the cluster tests ever touches the machine's own network."""

_AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
# unshare ignores SIGTERM while it waits, so it must be killed when its parent goes.
_UNSHARE = (
    "setpriv", "--pdeathsig", "KILL", "--", "unshare", *_AS_ROOT, "--net", "--mount", "--pid", "--fork", "--mount-proc",
    "--kill-child", "--propagation", "private", "--", "sh", "-c",
)  # fmt: skip
# Pods mount under /run and /etc; what they create there must not be seen outside.
_PREPARE = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/weir/etc
cp -r -d --preserve=mode,links /etc/. /run/weir/etc 2>/run/weir/unreadable || true
mount --bind /run/weir/etc /etc
ip link set lo up
"""
# What a cluster needs of its kernel.
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
# The shell stays as the first process, which has to take in the orphans.
_ENTER = _PREPARE + '"$@"'


def blocked() -> str | None:
    """Why no command can be run this way; None when it can."""
    path = _environment()["PATH"]
    missing = [tool for tool in ("setpriv", "unshare", "nsenter", "mount", "ip", "nft") if shutil.which(tool, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run([*_UNSHARE, _TRY], env=_environment(), check=False, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"this machine permits no namespaces ({tried.stderr.strip() or 'no reason given'})"


def run_inside(command: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    with _interruptions_left_to_it():
        return subprocess.run([*_UNSHARE, _ENTER, "sh", *command], env=_environment(), check=False).returncode


def _environment() -> dict[str, str]:
    # Servers live in /usr/sbin, which is not on every user's PATH; inside, everybody is root, but whose files are whose stays.
    return {**os.environ, INSIDE: "1", "LOGNAME": getpass.getuser(), "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


@contextlib.contextmanager
def _interruptions_left_to_it() -> Iterator[None]:
    """Ctrl-C reaches the command, too: it ends in its own way, and we after it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
