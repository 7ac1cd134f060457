"""`weir`, and `python -m weir`: the command, and a quiet end for whoever changes his mind while it is being imported."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """The entry point."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback through half the imports would help nobody
    from weir.cli import main as run  # noqa: PLC0415  it takes most of a second

    signal.signal(signal.SIGINT, heard)
    run()


if __name__ == "__main__":
    main()
