"""The event loops on which tests run: the standard library's, and uvloop, which the product uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop

__all__ = ["LOOPS"]

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
