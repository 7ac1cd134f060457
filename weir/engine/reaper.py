"""The reaper: a process beside the engine that ends the engine's processes when the engine is gone, even after SIGKILL.

Run as a script by the bare interpreter; imports only fast standard-library modules. It reads orders from standard input; end of
file means that the engine has ended. Then it ends what is still running: the registered process groups, and every process that
carries the engine's mark in its environment or in an inherited resource limit. The marks also find processes that left their
group, and one that was just being started when the engine died.
"""

import os
import shutil
import signal
import sys
import time

MARK = "WEIR_ENGINE"
"""Environment variable that every process of an engine has; the value identifies the engine."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. Short, because the engine is gone and no client can receive an answer."""
PAUSE = 0.05
"""Seconds between two checks for remaining processes."""
LIMIT = 10.0
"""Seconds after which it gives up: a zombie that nobody waits for looks alive for ever."""
HAS_PROC = os.path.isdir("/proc/self")
"""Whether the system lists processes in /proc, as Linux does; elsewhere only the process groups are known."""
LIMIT_NAME = b"Max realtime timeout"
"""The limit that carries a mark, in /proc/PID/limits; see inherited.py."""
QUIET_LOOKS = 2
"""Consecutive checks that must find nothing, because a process that is just being started may be missed once."""


def group_members(groups: set[int], mark: bytes = b"", limits: range = range(0)) -> set[int]:
    """Processes in one of the groups, or with the mark in their environment, or with one of the limits; without this process and
    without zombies.

    Zombies are excluded because they have ended, although a group that contains one still accepts signals. Works only with
    HAS_PROC.
    """
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                state, _, group = stat.read().rpartition(b")")[2].split(None, 3)[:3]
            if state not in b"ZX" and (int(group) in groups or (mark and carries(name, mark, limits))):
                found.add(int(name))
        except (OSError, ValueError):
            continue  # it has just ended, or belongs to another user
    return found


def carries(pid: str, mark: bytes, limits: range) -> bool:
    """Raises OSError for processes of other users."""
    with open(f"/proc/{pid}/environ", "rb") as environ:
        return mark in environ.read().split(b"\0") or (bool(limits) and limit_of(pid) in limits)


def limit_of(pid: str) -> int:
    """The number in the limit that carries marks, or -1. An int in any case: `None in range` would be a linear search."""
    with open(f"/proc/{pid}/limits", "rb") as lines:
        for line in lines:
            if line.startswith(LIMIT_NAME):
                soft = line[len(LIMIT_NAME) :].split()[0]
                return int(soft) if soft.isdigit() else -1
    return -1


def signal_all(groups: set[int], mark: bytes, limits: range, number: int) -> bool:
    """Send a signal to all remaining processes; returns whether there were any."""
    found = group_members(groups, mark, limits) if HAS_PROC else groups
    targets = [(os.kill if HAS_PROC else os.killpg, pid) for pid in found]
    left = False
    for send, target in targets:
        try:
            send(target, number)
            left = True
        except OSError:
            continue
    return left


def end_all(groups: set[int], mark: bytes, limits: range) -> None:
    began = time.monotonic()
    quiet = 0
    left = signal_all(groups, mark, limits, signal.SIGTERM)
    while quiet < QUIET_LOOKS and (passed := time.monotonic() - began) < LIMIT:
        quiet = 0 if left else quiet + 1
        time.sleep(PAUSE)
        left = signal_all(groups, mark, limits, signal.SIGKILL if passed >= GRACE else 0)


def main() -> None:
    """reaper.py MARK FIRST LAST [DIRECTORY]: the engine's environment mark, the range of its limit marks, and a directory to
    remove at the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        order, group = line.split()
        if order == "track":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    mark, first, last = sys.argv[1:4]
    end_all(groups, f"{MARK}={mark}".encode(), range(int(first), int(last) + 1))
    for directory in sys.argv[4:]:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
