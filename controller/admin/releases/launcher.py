"""Runs as a process of its own: sets limits for itself, and becomes helm. It ends with the controller, however that ends.

`python launcher.py PARENT BYTES CPU FILE PROGRAM ARGUMENT...`. It imports nothing of Weir, so that it starts at once.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """`PARENT` is the process that has started it; limits are bytes of memory, seconds of CPU, bytes of one file."""
    parent, memory, cpu, file = map(int, sys.argv[1:5])
    program = sys.argv[5:]
    limits = (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, limit in limits:
        resource.setrlimit(kind, (limit, limit))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended in the meantime
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606  which is meant: no shell


if __name__ == "__main__":
    main()
