"""The command line of `weir release`: arguments and help texts. What does the work is imported when a command is run."""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir.apps.cli import DryRun, Output, Wait, time_of
from weir.apps.options import where_options, with_options
from weir.apps.where import Where

if TYPE_CHECKING:
    from weir.releases.document import Asked

__all__ = ["app"]

app = typer.Typer(name="release", help="Releases of Helm charts in a cluster, by the Admin API.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the release.")]
_Chart = Annotated[str, typer.Argument(metavar="CHART", help="A packed chart (.tgz), oci://…, or a name in --repo.")]
_Timeout = Annotated[
    float,
    typer.Option(parser=time_of, metavar="TIME", help="For everything to become ready; then it is undone.", show_default=False),
]
_PATIENCE: Any = "5m"
GRACE = 60.0
"""Seconds for the server to undo what was not ready in time."""


def asked_options(
    *,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="URL", help="Repository of the chart.", show_default=False)
    ] = None,
    version: Annotated[str | None, typer.Option(help="Of the chart; default the newest.", show_default=False)] = None,
    credentials: Annotated[
        str | None, typer.Option(metavar="SECRET", help="A Secret of the namespace, for the repository.", show_default=False)
    ] = None,
    values: Annotated[
        list[Path] | None,
        typer.Option("--values", "-f", metavar="FILE", help="Values, in YAML or JSON; a later file wins.", show_default=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A value, in YAML: image.tag='\"2\"'.", show_default=False),
    ] = None,
    expose: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE[=HOST]", help="A Service that gets requests through Weir, and sleeps.", show_default=False),
    ] = None,
    skip_crds: Annotated[bool, typer.Option("--skip-crds", help="Leave out the chart's directory crds.")] = False,
) -> dict[str, Any]:
    """The release, but for its chart."""
    return {
        "repository": repo,
        "version": version,
        "credentials": credentials,
        "values": values or (),
        "set": set_ or (),
        "expose": expose or (),
        "skip_crds": skip_crds,
    }


@app.command()
@with_options(asked=asked_options, where=where_options)
def install(
    name: _Name,
    chart: _Chart,
    *,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    asked: dict[str, Any],
    where: Where,
) -> None:
    """Install a chart. The same call again changes nothing."""
    from weir.releases.run import Change, run_install

    change = Change(output=output, wait=wait, patience=timeout + GRACE, dry_run=dry_run)
    raise typer.Exit(run_install(where, name, _asked(chart, asked, timeout), change))


@app.command()
@with_options(asked=asked_options, where=where_options)
def upgrade(
    name: _Name,
    chart: _Chart,
    *,
    install: Annotated[bool, typer.Option("--install", help="Install it, if it is not there.")] = False,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    asked: dict[str, Any],
    where: Where,
) -> None:
    """Make a release what the chart and the values say. If that fails, it goes back to what it was."""
    from weir.releases.run import Change, run_upgrade

    change = Change(output=output, wait=wait, patience=timeout + GRACE, dry_run=dry_run)
    raise typer.Exit(run_upgrade(where, name, _asked(chart, asked, timeout), change, install=install))


@app.command()
@with_options(where=where_options)
def rollback(
    name: _Name,
    revision: Annotated[
        int | None, typer.Argument(metavar="[REVISION]", min=1, help="Default: the one before.", show_default=False)
    ] = None,
    *,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    where: Where,
) -> None:
    """Go back to an older revision."""
    from weir.releases.run import Change, run_change

    change = Change(output=output, wait=wait, patience=timeout + GRACE)
    raise typer.Exit(run_change(where, name, change, revision=revision))


@app.command()
@with_options(where=where_options)
def delete(
    name: _Name,
    *,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    where: Where,
) -> None:
    """Delete a release, and all that was made for it."""
    from weir.releases.run import Change, run_change

    change = Change(output=output, wait=wait, patience=timeout + GRACE, dry_run=dry_run)
    raise typer.Exit(run_change(where, name, change, delete=True))


@app.command()
@with_options(where=where_options)
def status(
    name: _Name,
    *,
    output: Output = "text",
    values: Annotated[bool, typer.Option("--values", help="Only its values, as --values takes them.")] = False,
    where: Where,
) -> None:
    """Print a release: its revision, how it is, and what the chart says to its user."""
    from weir.releases.run import run_status

    raise typer.Exit(run_status(where, name, output, values=values))


@app.command()
@with_options(where=where_options)
def history(name: _Name, *, output: Output = "text", where: Where) -> None:
    """Print the revisions of a release."""
    from weir.releases.run import run_history

    raise typer.Exit(run_history(where, name, output))


@app.command("list")
@with_options(where=where_options)
def list_(*, output: Output = "text", where: Where) -> None:
    """Print the releases of a namespace."""
    from weir.releases.run import run_list

    raise typer.Exit(run_list(where, output))


def _asked(chart: str, asked: dict[str, Any], seconds: float) -> Asked:
    from weir.releases.document import Asked

    return Asked(chart=chart, seconds=seconds, **asked)
