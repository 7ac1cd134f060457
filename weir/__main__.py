"""Entry point of `weir` and `python -m weir`. Ctrl-C while modules are still being imported ends the process without a
traceback."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """The entry point."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # without this, Ctrl-C during an import would print a long traceback
    from weir.cli import main as run  # noqa: PLC0415  it takes most of a second

    signal.signal(signal.SIGINT, heard)
    run()


if __name__ == "__main__":
    main()
