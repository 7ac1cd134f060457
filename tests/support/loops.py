"""The event loops on which tests run: the standard library's, and uvloop, which the product uses."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping

import uvloop

__all__ = ["LOOPS"]


class _UvLoop(uvloop.Loop):
    def close(self) -> None:
        """Raises the ResourceWarning of what is still open afterwards: uvloop waits for ever where the warning is an error."""
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always", ResourceWarning)
            super().close()
        for each in left:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": _UvLoop,
}
