"""The command line of `weir port`: arguments and help texts. What does the work is imported when a command is run."""

# ruff: noqa: PLC0415

from __future__ import annotations

from typing import Annotated

import typer

from fleet.defaults import PORT_LIMIT
from weir.apps.cli import Output, time_of
from weir.apps.options import where_options, with_options
from weir.apps.where import Where

__all__ = ["app"]

app = typer.Typer(
    name="port", help="Leases of ports: of a cluster, by the Admin API, or of a running weir up.", no_args_is_help=True
)


def _leases(context: typer.Context, incomplete: str) -> list[str]:
    from weir.ports.run import lease_names

    return [*lease_names(context.params, incomplete)]


def _protocol(typed: str) -> str:
    if typed.upper() not in ("TCP", "UDP"):
        raise typer.BadParameter("should be tcp or udp")
    return typed.upper()


_New = Annotated[
    str | None,
    typer.Argument(metavar="[NAME]", help="What routes call it; the same name again is the same lease.", show_default=False),
]
_Lease = Annotated[str, typer.Argument(metavar="NAME", help="Name of the lease, or tcp-PORT.", autocompletion=_leases)]


@app.command()
@with_options(where=where_options)
def lease(
    name: _New = None,
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=PORT_LIMIT, help="This number; default: any that is free.", show_default=False)
    ] = None,
    protocol: Annotated[str, typer.Option(callback=_protocol, help="tcp or udp.", autocompletion=lambda: ["tcp", "udp"])] = "tcp",
    entry: Annotated[str | None, typer.Option(metavar="SERVICE", help="At this Service.", show_default=False)] = None,
    address: Annotated[
        str | None, typer.Option(help="At the Service with this address of its load balancer.", show_default=False)
    ] = None,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", help="At a Service with these labels.", show_default=False)
    ] = None,
    app_: Annotated[str | None, typer.Option("--app", help="For this app, with which it ends.", show_default=False)] = None,
    ttl: Annotated[
        float | None,
        typer.Option(parser=time_of, metavar="TIME", help="For so long, if nothing uses it.", show_default=False),
    ] = None,
    output: Output = "text",
    where: Where,
) -> None:
    """Lease a port that nobody else has."""
    from weir.ports.run import run_lease

    asked = {
        "name": name,
        "port": port,
        "protocol": protocol,
        "entry": entry,
        "address": address,
        "selector": selector,
        "app": app_,
        "ttl": None if ttl is None else f"{ttl:g}s",
    }
    raise typer.Exit(run_lease(where, asked, output))


@app.command("list")
@with_options(where=where_options)
def list_(*, output: Output = "text", where: Where) -> None:
    """Print the leases of a namespace."""
    from weir.ports.run import run_list

    raise typer.Exit(run_list(where, output))


@app.command()
@with_options(where=where_options)
def release(name: _Lease, *, output: Output = "text", where: Where) -> None:
    """Release a port. One that an app asks for is kept."""
    from weir.ports.run import run_release

    raise typer.Exit(run_release(where, name, output))
