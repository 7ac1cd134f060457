"""`python -m weir` is the `weir` command."""

from __future__ import annotations

from weir.cli import main

if __name__ == "__main__":
    main()
