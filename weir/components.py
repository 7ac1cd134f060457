"""`weir interceptor`, `weir scaler` and `weir controller`: run one component in this process, configured by its settings
class."""

# ruff: noqa: PLC0415  one component does not pay for importing the other

from __future__ import annotations

from collections.abc import Sequence

from fleet.runtime.life import run_alone

__all__ = ["run_controller", "run_interceptor", "run_scaler"]


def run_interceptor(argv: Sequence[str]) -> int:
    """Run an interceptor until SIGTERM or SIGINT; returns the exit code."""
    from interceptor.server import Interceptor
    from interceptor.settings import InterceptorSettings

    return run_alone(lambda: InterceptorSettings.load(argv), Interceptor)


def run_scaler(argv: Sequence[str]) -> int:
    """Run a scaler until SIGTERM or SIGINT; returns the exit code."""
    from scaler.server import Scaler
    from scaler.settings import ScalerSettings

    return run_alone(lambda: ScalerSettings.load(argv), Scaler)


def run_controller(argv: Sequence[str]) -> int:
    """Run a controller until SIGTERM or SIGINT; returns the exit code."""
    from controller.server import Controller
    from controller.settings import ControllerSettings

    return run_alone(lambda: ControllerSettings.load(argv), Controller)
