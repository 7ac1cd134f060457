"""The `weir` command: what there is to run and to ask, and the exit codes.

Only reads what was typed; the work is done elsewhere, and imported when it is asked for, so that `weir --help` and a
restarted component are quick.
"""

# ruff: noqa: PLC0415  what a command needs is imported when it is run

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

DEFAULT_RPC_ADDRESS = "127.0.0.1:9090"

app = typer.Typer(name="weir", help="Applications that sleep until a request comes.", no_args_is_help=True, add_completion=False)

_COMPONENT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""A component's flags are those of its settings class, its --help included."""


# The settings of the same name tell scaler and controller how to reach interceptors: in their pods nothing has to be typed.
# Texts and not paths: an empty path is that of the directory, and then nobody could tell that nothing was meant.
_Ca = Annotated[
    str | None,
    typer.Option(
        envvar="WEIR_MEMBER_TLS_CA", metavar="PATH", help="CA file for interceptors that speak TLS.", show_default=False
    ),
]
_Cert = Annotated[
    str | None,
    typer.Option(
        envvar="WEIR_MEMBER_TLS_CERT", metavar="PATH", help="Certificate file to show to interceptors.", show_default=False
    ),
]
_Key = Annotated[
    str | None,
    typer.Option(envvar="WEIR_MEMBER_TLS_KEY", metavar="PATH", help="Key file of that certificate.", show_default=False),
]
_Name = Annotated[
    str | None,
    typer.Option(
        envvar="WEIR_MEMBER_TLS_NAME", help="Name in the interceptors' certificates, when it is not dialled.", show_default=False
    ),
]


@app.command()
def up(
    file: Annotated[Path, typer.Argument(help="YAML file of apps.", show_default=False)],
    *,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the first interceptor; 0 takes a free one.")] = None,
    host: Annotated[str, typer.Option(help="Address that interceptors and scaler listen on.")] = "127.0.0.1",
    duration: Annotated[float | None, typer.Option(min=0, help="End by itself this many seconds after it serves.")] = None,
    ui: Annotated[bool | None, typer.Option("--ui/--no-ui", help="Live table; default on a terminal.")] = None,
    processes: Annotated[bool, typer.Option(help="Run every component as a process of its own.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Directory for the engine's files; default a temporary one.")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the apps of a file on this machine: they sleep at zero, wake on a request, grow under load."""
    from weir.up import Request, run_up

    show = sys.stdout.isatty() if ui is None else ui
    request = Request(
        file=file,
        port=port,
        host=host,
        duration=duration,
        ui=show,
        processes=processes,
        state_dir=state_dir,
        log_level=log_level,
    )
    raise typer.Exit(run_up(request))


@app.command(context_settings=_COMPONENT, add_help_option=False)
def interceptor(context: typer.Context) -> None:
    """Run one interceptor. Its flags: weir interceptor --help."""
    from weir.components import run_interceptor

    raise typer.Exit(run_interceptor(context.args))


@app.command(context_settings=_COMPONENT, add_help_option=False)
def scaler(context: typer.Context) -> None:
    """Run one scaler. Its flags: weir scaler --help."""
    from weir.components import run_scaler

    raise typer.Exit(run_scaler(context.args))


@app.command(context_settings=_COMPONENT, add_help_option=False)
def controller(context: typer.Context) -> None:
    """Run one controller, on Kubernetes. Its flags: weir controller --help."""
    from weir.components import run_controller

    raise typer.Exit(run_controller(context.args))


@app.command()
def queue(
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="host:port of interceptors' RPC.", show_default=False)
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each reading.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Read again every second until interrupted.")] = False,
    tls_ca: _Ca = None,
    tls_cert: _Cert = None,
    tls_key: _Key = None,
    tls_name: _Name = None,
) -> None:
    """Print what interceptors hold and carry, for each app."""
    _quiet()
    from weir.dial import Tls
    from weir.queue import run_queue

    tls = Tls(tls_ca, tls_cert, tls_key, tls_name)
    raise typer.Exit(run_queue(addresses or [DEFAULT_RPC_ADDRESS], as_json=json, watch=watch, tls=tls))


@app.command()
def explain(
    host: Annotated[str, typer.Argument(help="Host of the request.")],
    path: Annotated[str, typer.Argument(help="Path of the request.")] = "/",
    *,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="name:value; may be repeated.")] = None,
    file: Annotated[Path | None, typer.Option(help="A routing table, or a file of apps.", show_default=False)] = None,
    address: Annotated[str, typer.Option(help="host:port of an interceptor's RPC.")] = DEFAULT_RPC_ADDRESS,
    tls_ca: _Ca = None,
    tls_cert: _Cert = None,
    tls_key: _Key = None,
    tls_name: _Name = None,
) -> None:
    """Tell which app a request would reach, and why."""
    _quiet()
    from weir.dial import Tls
    from weir.explain import run_explain

    tls = Tls(tls_ca, tls_cert, tls_key, tls_name)
    raise typer.Exit(run_explain(host, path, header or [], file=file, address=address, tls=tls))


def _quiet() -> None:
    """What gRPC's library logs of a handshake that failed is for its authors. It looks here when it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """The entry point."""
    app()
