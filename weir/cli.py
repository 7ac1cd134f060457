"""The command line of `weir`: arguments, help texts and exit codes.

Only parses arguments. Each command imports the module that does its work when it is called, so that `weir --help` and a restarted
component start quickly.
"""

# ruff: noqa: PLC0415  what a command needs is imported when it is run

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fleet.defaults import FILE_OF_APPS, LOG_LINES, PORT_LIMIT
from fleet.routing.duration import seconds
from fleet.runtime.terminal import complain, say
from weir.apps.cli import app as apps
from weir.ports.cli import app as ports
from weir.previews.cli import app as previews
from weir.releases.cli import app as releases

__all__ = ["app", "main"]

EXIT_NOT_WRITTEN = 1
DEFAULT_FILE = Path(FILE_OF_APPS)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Errors of a write to standard output that mean "no space left or I/O error". A closed pipe (EPIPE) is handled by typer."""
COMPLETION_VARIABLE = "_WEIR_COMPLETE"
"""Environment variable with which a shell's completion script asks for completions."""

app = typer.Typer(name="weir", help="Applications that sleep until a request comes.", no_args_is_help=True, add_completion=False)
app.add_typer(apps)
app.add_typer(releases)
app.add_typer(ports)
app.add_typer(previews)

_COMPONENT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""A component parses its own flags, `--help` included, with its settings class."""


# The defaults come from the settings of the same name, which tell scaler and controller how to reach interceptors, so that
# nothing has to be typed in their pods. The type is str and not Path: Path("") is the current directory, so an empty value could
# not be detected.
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
        envvar="WEIR_MEMBER_TLS_NAME", help="Name in the interceptors' certificates, if not the address.", show_default=False
    ),
]


def _seconds(text: str) -> float:
    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _listening_host(typed: str) -> str:
    from fleet.runtime.address import AddressError, listening_host

    try:
        return listening_host(typed)
    except AddressError as error:
        raise typer.BadParameter(str(error)) from error


def _log_level(typed: str) -> str:
    from fleet.runtime.logs import LEVELS

    if typed.upper() not in LEVELS:
        raise typer.BadParameter(f"should be one of {', '.join(level.lower() for level in LEVELS)}")
    return typed


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        say(f"weir {metadata.version('weir')}")
        raise typer.Exit


@app.callback()
def weir(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Applications that sleep until a request comes."""


_File = Annotated[Path, typer.Argument(help="YAML file of apps; - is standard input.")]
_Of = Annotated[Path | None, typer.Option("--of", metavar="FILE", help="The file of the weir up to use.", show_default=False)]


@app.command()
def up(
    file: _File = DEFAULT_FILE,
    *,
    port: Annotated[
        int | None, typer.Option(min=0, max=PORT_LIMIT, help="Port of the first interceptor; 0 for any free port.")
    ] = None,
    host: Annotated[
        str, typer.Option(callback=_listening_host, help="IP address that interceptors and scaler listen on.")
    ] = "127.0.0.1",
    duration: Annotated[
        float | None,
        typer.Option(parser=_seconds, metavar="TIME", help="Exit this long after everything is ready, like 90s or 1m30s."),
    ] = None,
    ui: Annotated[bool | None, typer.Option("--ui/--no-ui", help="Live table; default on a terminal.")] = None,
    processes: Annotated[bool, typer.Option(help="Run every component in a separate process.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Directory for the engine's files; default a temporary one.")] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve https as well, with certificates of an authority of your own.")
    ] = False,
    log_level: Annotated[str, typer.Option(callback=_log_level, help="debug, info, warning or error.")] = "info",
    log_json: Annotated[bool, typer.Option("--log-json", help="One JSON object for each line, without a live table.")] = False,
) -> None:
    """Run the apps of a file on this machine: started by requests, more replicas under load, none when idle."""
    from weir.up import Request, run_up

    show = sys.stdout.isatty() if ui is None else ui
    if ui and log_json:
        raise typer.BadParameter("a live table is no JSON", param_hint="--log-json")
    request = Request(
        file=file,
        port=port,
        host=host,
        duration=duration,
        ui=show and not log_json,
        processes=processes,
        state_dir=state_dir,
        tls=tls,
        log_level=log_level,
        log_json=log_json,
    )
    raise typer.Exit(run_up(request))


@app.command()
def check(file: _File = DEFAULT_FILE) -> None:
    """Report all errors in a file of apps, without running anything. The exit code is 3 if there are any."""
    from weir.files import run_check

    raise typer.Exit(run_check(file))


@app.command()
def init(file: Annotated[Path, typer.Argument(help="The file to write.")] = DEFAULT_FILE) -> None:
    """Write an example file of apps. An existing file is not changed."""
    from weir.files import run_init

    raise typer.Exit(run_init(file))


@app.command()
def schema() -> None:
    """Print the JSON schema of the file of apps, for editors."""
    from weir.files import run_schema

    raise typer.Exit(run_schema())


@app.command()
def completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell, for example for: source <(weir completion bash)."""
    from typer._completion_shared import get_completion_script

    if shell not in ("bash", "zsh", "fish"):
        raise typer.BadParameter("should be bash, zsh or fish", param_hint="SHELL")
    for line in get_completion_script(prog_name="weir", complete_var=COMPLETION_VARIABLE, shell=shell).splitlines():
        say(line)


def _apps(incomplete: str) -> list[str]:
    from weir.local import app_names

    return [*app_names(incomplete)]


_App = Annotated[str, typer.Argument(metavar="NAME", help="An app: NAME or NAMESPACE/NAME.", autocompletion=_apps)]


@app.command()
def ps(*, of: _Of = None, output: Annotated[str, typer.Option("--output", "-o", help="text or json.")] = "text") -> None:
    """Print the apps of every running weir up."""
    from weir.local import run_ps

    if output not in ("text", "json"):
        raise typer.BadParameter("should be text or json", param_hint="--output")
    raise typer.Exit(run_ps(of, as_json=output == "json"))


@app.command()
def logs(
    name: _App,
    *,
    of: _Of = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines.")] = LOG_LINES,
) -> None:
    """Print what an app has written lately."""
    from weir.local import run_logs

    raise typer.Exit(run_logs(name, of, follow=follow, lines=lines))


@app.command()
def wake(name: _App, *, of: _Of = None) -> None:
    """Start an app as if a request had arrived for it."""
    from weir.local import run_order

    raise typer.Exit(run_order("wake", name, of))


@app.command()
def sleep(name: _App, *, of: _Of = None) -> None:
    """Stop the replicas of an app now, unless it is busy."""
    from weir.local import run_order

    raise typer.Exit(run_order("sleep", name, of))


@app.command()
def restart(name: _App, *, of: _Of = None) -> None:
    """Replace the processes of an app by new ones."""
    from weir.local import run_order

    raise typer.Exit(run_order("restart", name, of))


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
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]...", help="host:port of interceptors' RPC; default: those of weir up."),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each reading.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Read again every second until interrupted.")] = False,
    of: _Of = None,
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
    raise typer.Exit(run_queue(addresses or None, of=of, as_json=json, watch=watch, tls=tls))


@app.command()
def explain(
    host: Annotated[str, typer.Argument(metavar="HOST|URL", help="Host of the request, or its URL.")],
    path: Annotated[
        str | None, typer.Argument(help="Path of the request; / if it is not in the URL.", show_default=False)
    ] = None,
    *,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="name:value; may be repeated.")] = None,
    method: Annotated[str, typer.Option("--method", "-X", help="Method of the request.")] = "GET",
    file: Annotated[Path | None, typer.Option(help="A routing table, or a file of apps.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="host:port of an interceptor's RPC; default: one of weir up.", show_default=False)
    ] = None,
    of: _Of = None,
    tls_ca: _Ca = None,
    tls_cert: _Cert = None,
    tls_key: _Key = None,
    tls_name: _Name = None,
) -> None:
    """Tell which app a request would reach, and why."""
    _quiet()
    from weir.dial import Tls
    from weir.explain import Source, run_explain

    source = Source(file=file, address=address, of=of, tls=Tls(tls_ca, tls_cert, tls_key, tls_name))
    raise typer.Exit(run_explain(host, path, header or [], method=method, source=source))


def _quiet() -> None:
    """Silence gRPC's own log of failed handshakes, which is written for its developers. gRPC reads the variable when it is
    imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """The entry point."""
    if COMPLETION_VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    for standard in (sys.stdin, sys.stdout, sys.stderr):
        if standard is None:  # a file opened later would get this descriptor, and be written to as standard output
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  for the life of the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        app()
    except OSError as error:
        if error.errno not in _FULL:
            raise
        with suppress(OSError):
            sys.stdout.close()  # its buffer cannot be written either, and Python would try again at exit
        complain(f"error: cannot write: {error.strerror}")
        sys.exit(EXIT_NOT_WRITTEN)
