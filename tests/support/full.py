"""Whether tests run at full size: minutes and gigabytes, as the product promises them, instead of seconds for every day."""

from __future__ import annotations

import os

__all__ = ["FULL"]

FULL = os.environ.get("WEIR_FULL_SIZE", "") not in ("", "0")
