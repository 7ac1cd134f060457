"""The command line of `weir app`: arguments and help texts. What does the work is imported when a command is run."""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.defaults import LOG_LINES
from fleet.routing.duration import seconds
from fleet.runtime.terminal import complain
from weir.apps.failure import NotDoneError, UsageError
from weir.apps.given import Given
from weir.apps.options import given_options, where_options, with_options
from weir.apps.where import Where

__all__ = ["DryRun", "Output", "Wait", "app", "time_of"]

app = typer.Typer(
    name="app",
    help="Applications of a cluster, by the Admin API, or of a running weir up, in its file.",
    no_args_is_help=True,
)


def _names(context: typer.Context, incomplete: str) -> list[str]:
    from weir.apps.names import names

    return [*names(context.params, incomplete)]


def time_of(typed: str) -> float:
    """A duration as an option."""
    try:
        return seconds(typed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _output(typed: str) -> str:
    from weir.apps.output import FORMATS

    if typed not in FORMATS:
        raise typer.BadParameter(f"should be one of {', '.join(FORMATS)}")
    return typed


_New = Annotated[str, typer.Argument(metavar="NAME", help="Name of the app.")]
_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the app.", autocompletion=_names)]
Output = Annotated[
    str,
    typer.Option("--output", "-o", callback=_output, help="text, json or yaml.", autocompletion=lambda: ["text", "json", "yaml"]),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is so everywhere, and tell how far it is.")]
_Timeout = Annotated[float, typer.Option(parser=time_of, metavar="TIME", help="Wait so long at most.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check, and tell what would be done.")]
_IfMatch = Annotated[
    str | None, typer.Option("--if-match", metavar="VERSION", help="Only if this is still its version.", show_default=False)
]
_File = Annotated[
    Path | None, typer.Option("--file", "-f", help="The fields in YAML or JSON; - is standard input.", show_default=False)
]
_PATIENCE: Any = "3m"


@app.command()
@with_options(given=given_options, where=where_options)
def create(
    name: _New,
    *,
    file: _File = None,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    given: Given,
    where: Where,
) -> None:
    """Create an app, which sleeps until its first request. The same call again gives the same result."""
    from weir.apps.run import run_change

    given = _with_file(given, file, name)
    code = run_change(
        where, name, lambda at, how: at.create(name, given, how), output, wait=wait, patience=timeout, dry_run=dry_run
    )
    raise typer.Exit(code)


@app.command()
@with_options(given=given_options, where=where_options)
def update(
    name: _Name,
    *,
    file: _File = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="FIELD", help="Give a field its default again.", show_default=False)
    ] = None,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    if_match: _IfMatch = None,
    given: Given,
    where: Where,
) -> None:
    """Change fields of an app; with --file, all of them."""
    from weir.apps.run import run_change

    given = replace(_with_file(given, file, name), unset=unset or ())
    if given.is_empty:
        raise typer.BadParameter("there is nothing to change", param_hint="update")
    code = run_change(
        where,
        name,
        lambda at, how: at.update(name, given, how),
        output,
        wait=wait,
        patience=timeout,
        dry_run=dry_run,
        if_match=if_match,
    )
    raise typer.Exit(code)


@app.command("list")
@with_options(where=where_options)
def list_(*, output: Output = "text", where: Where) -> None:
    """Print the apps of a namespace, or of every running weir up."""
    from weir.apps.run import run_list

    raise typer.Exit(run_list(where, output))


@app.command()
@with_options(where=where_options)
def show(
    name: _Name,
    *,
    output: Output = "text",
    document: Annotated[bool, typer.Option("--document", help="Only its fields, as --file takes them.")] = False,
    where: Where,
) -> None:
    """Print what an app is, and how it is."""
    from weir.apps.run import run_show

    raise typer.Exit(run_show(where, name, output, document=document))


@app.command()
@with_options(where=where_options)
def delete(
    name: _Name,
    *,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    if_match: _IfMatch = None,
    where: Where,
) -> None:
    """Delete an app, and all that belongs to it."""
    from weir.apps.run import run_change

    code = run_change(
        where,
        name,
        lambda at, how: at.delete(name, how),
        output,
        wait=wait,
        patience=timeout,
        dry_run=dry_run,
        if_match=if_match,
    )
    raise typer.Exit(code)


@app.command()
@with_options(where=where_options)
def wake(
    name: _Name,
    *,
    duration: Annotated[
        float | None,
        typer.Option("--for", parser=time_of, metavar="TIME", help="Keep it awake so long (cluster).", show_default=False),
    ] = None,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    where: Where,
) -> None:
    """Start an app as if a request had arrived for it."""
    from weir.apps.run import run_change

    code = run_change(
        where, name, lambda at, how: at.order("wake", name, how, duration=duration), output, wait=wait, patience=timeout
    )
    raise typer.Exit(code)


@app.command()
@with_options(where=where_options)
def sleep(name: _Name, *, output: Output = "text", wait: Wait = True, timeout: _Timeout = _PATIENCE, where: Where) -> None:
    """Let an app sleep now, unless it is busy."""
    from weir.apps.run import run_change

    code = run_change(
        where, name, lambda at, how: at.order("sleep", name, how, duration=None), output, wait=wait, patience=timeout
    )
    raise typer.Exit(code)


@app.command()
@with_options(where=where_options)
def logs(
    name: _Name,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="Number of last lines.")] = LOG_LINES,
    since: Annotated[
        float | None,
        typer.Option("--since", parser=time_of, metavar="TIME", help="Only of the last so long (cluster).", show_default=False),
    ] = None,
    where: Where,
) -> None:
    """Print what an app has written lately."""
    from weir.apps.run import run_logs

    raise typer.Exit(run_logs(where, name, follow=follow, lines=lines, since=since))


def _with_file(given: Given, file: Path | None, name: str) -> Given:
    if file is None:
        return given
    from weir.apps.run import read_document

    try:
        return replace(given, document=read_document(file, name.rpartition("/")[2]))
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--file") from error
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        raise typer.Exit(error.code) from error
