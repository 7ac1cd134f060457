"""`weir interceptor`, `weir scaler` and `weir controller`: one component in this process, set by its own settings class."""

# ruff: noqa: PLC0415  one component does not pay for importing the other

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fleet.runtime.logs import configure_logging
from fleet.runtime.process import run_component
from fleet.runtime.settings import ComponentSettings

__all__ = ["run_controller", "run_interceptor", "run_scaler"]

Settings = TypeVar("Settings", bound=ComponentSettings)


def run_interceptor(argv: Sequence[str]) -> int:
    """Run an interceptor until it is told to end; gives the exit code."""
    from interceptor.server import run
    from interceptor.settings import InterceptorSettings

    return _run(InterceptorSettings, run, argv, lambda settings: configure_logging(settings.log_level, settings.log_json))


def run_scaler(argv: Sequence[str]) -> int:
    """Run a scaler until it is told to end; gives the exit code."""
    from scaler.server import run
    from scaler.settings import ScalerSettings

    return _run(ScalerSettings, run, argv, lambda settings: configure_logging(settings.log_level, settings.log_json))


def run_controller(argv: Sequence[str]) -> int:
    """Run a controller until it is told to end; gives the exit code."""
    from controller.server import run
    from controller.settings import ControllerSettings

    return _run(ControllerSettings, run, argv, lambda settings: configure_logging(settings.log_level, settings.log_json))


def _run(
    kind: type[Settings],
    run: Callable[[Settings], Awaitable[None]],
    argv: Sequence[str],
    configure: Callable[[Settings], None],
) -> int:
    async def component() -> None:
        settings = kind.load(argv)
        configure(settings)
        await run(settings)

    return run_component(component)
