"""The keeper: a process beside the engine that leaves nothing running when the engine is gone, however it went.

Run as a script by the bare interpreter, so it may import nothing but the standard library's quickest. It reads its
orders from standard input; the end of input means that the engine has ended. Then it ends what is still running: the
process groups it was told of, and every process that carries the engine's mark, in its environment or in a limit that it
has inherited (which finds those that left their group, and one that was being started in the very moment the engine died).
"""

import os
import shutil
import signal
import sys
import time

MARK = "WEIR_ENGINE"
"""Environment variable that every process of an engine carries; its value is the engine's own."""
GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. The engine is gone and nobody waits for answers any more."""
PAUSE = 0.05
"""Seconds between two looks at what is left."""
LIMIT = 10.0
"""Seconds after which nothing that is left would end: a process that nobody reaps looks alive for ever."""
HAS_PROC = os.path.isdir("/proc/self")
"""Whether the system tells of its processes in files, as Linux does; elsewhere there are only the groups."""
LIMIT_NAME = b"Max realtime timeout"
"""The limit that carries a mark, in /proc/PID/limits; see inherited.py."""
QUIET_LOOKS = 2
"""Looks that must find nothing: between two, a process that was being started shows itself."""


def group_members(groups: set[int], mark: bytes = b"", limits: range = range(0)) -> set[int]:
    """Processes that belong to one of the groups, or have the mark in their environment, or one of the limits; this one and
    zombies aside.

    Zombies are left aside because they have ended, though a group that has one still takes signals; nobody may ever
    reap them. Only Linux tells, see HAS_PROC.
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
            continue  # ended just now, or belongs to another user
    return found


def carries(pid: str, mark: bytes, limits: range) -> bool:
    """Raises OSError for processes of other users."""
    with open(f"/proc/{pid}/environ", "rb") as environ:
        return mark in environ.read().split(b"\0") or (bool(limits) and limit_of(pid) in limits)


def limit_of(pid: str) -> int:
    """The number of the limit that carries marks, or -1. Never None, for which a range is looked through number by number."""
    with open(f"/proc/{pid}/limits", "rb") as lines:
        for line in lines:
            if line.startswith(LIMIT_NAME):
                soft = line[len(LIMIT_NAME) :].split()[0]
                return int(soft) if soft.isdigit() else -1
    return -1


def signal_all(groups: set[int], mark: bytes, limits: range, number: int) -> bool:
    """Signal whatever is left, and tell whether anything was."""
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
    """keeper.py MARK FIRST LAST [DIRECTORY]: the engine's marks, in words and numbers, and a directory to remove at the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        order, group = line.split()
        if order == "keep":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    mark, first, last = sys.argv[1:4]
    end_all(groups, f"{MARK}={mark}".encode(), range(int(first), int(last) + 1))
    for directory in sys.argv[4:]:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
