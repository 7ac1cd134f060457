"""The command line of `weir preview`: arguments and help texts. What does the work is imported when a command is run."""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from weir.apps.cli import DryRun, Output, Wait, time_of
from weir.apps.options import where_options, with_options
from weir.apps.where import Where

__all__ = ["app"]

app = typer.Typer(
    name="preview",
    help="Previews of apps: copies that sleep until they are used. In a cluster, by the Admin API.",
    no_args_is_help=True,
)


def _ids(context: typer.Context, incomplete: str) -> list[str]:
    from weir.previews.run import preview_names

    return [*preview_names(context.params, incomplete)]


def _bases(context: typer.Context, incomplete: str) -> list[str]:
    from weir.previews.run import base_names

    return [*base_names(context.params, incomplete)]


def _duration(typed: str) -> str:
    """As it was typed, with a unit."""
    time_of(typed)
    return f"{typed}s" if typed[-1:].isdigit() else typed


def _expires(typed: str | None) -> str | None:
    if typed not in (None, "AfterLastRequest", "AfterCreation"):
        raise typer.BadParameter("should be AfterLastRequest or AfterCreation")
    return typed


_Id = Annotated[
    str,
    typer.Argument(metavar="NAME", help="As the list has it, BASE--NAME; with --base, the preview's name.", autocompletion=_ids),
]
_Base = Annotated[
    str | None, typer.Option("--base", help="The app that it is a preview of.", show_default=False, autocompletion=_bases)
]
_Timeout = Annotated[float, typer.Option(parser=time_of, metavar="TIME", help="Wait so long at most.", show_default=False)]
_Texts = list[str] | None
_PATIENCE: Any = "5m"


def document_options(
    *,
    base: _Base = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What requests choose it by, and a part of its host.", show_default=False)
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="Image of its container.", show_default=False)] = None,
    env: Annotated[
        _Texts, typer.Option("--env", "-e", metavar="NAME=VALUE", help="Variable beside those of the app.", show_default=False)
    ] = None,
    container: Annotated[
        str | None, typer.Option("--container", help="Which container; default: the first one.", show_default=False)
    ] = None,
    request: Annotated[_Texts, typer.Option("--request", metavar="cpu=250m", help="Resources.", show_default=False)] = None,
    limit: Annotated[_Texts, typer.Option("--limit", metavar="memory=1Gi", help="Limits.", show_default=False)] = None,
    min_: Annotated[int | None, typer.Option("--min", help="Least replicas; default 0: it sleeps.", show_default=False)] = None,
    max_: Annotated[int | None, typer.Option("--max", help="Most replicas.", show_default=False)] = None,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", parser=_duration, metavar="TIME", help="How long it lives, like 72h.", show_default=False),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires",
            callback=_expires,
            metavar="WHEN",
            help="That time counts from AfterLastRequest (default) or AfterCreation.",
            show_default=False,
            autocompletion=lambda: ["AfterLastRequest", "AfterCreation"],
        ),
    ] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Do not follow changes of the app.")] = False,
    dependencies: Annotated[bool, typer.Option("--dependencies", help="Copy what the app needs as well.")] = False,
    copy_namespace: Annotated[
        str | None,
        typer.Option("--copy-namespace", help="Another namespace for its copy, which permits it.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The document in YAML or JSON, hooks included; - is stdin.", show_default=False),
    ] = None,
) -> dict[str, Any]:
    """What the preview is."""
    return {
        "file": file,
        "base": base,
        "name": name,
        "image": image,
        "container": container,
        "env": env or (),
        "request": request or (),
        "limit": limit or (),
        "min": min_,
        "max": max_,
        "ttl": ttl,
        "expires": expires,
        "pinned": pinned,
        "dependencies": dependencies,
        "copy_namespace": copy_namespace,
    }


@app.command()
@with_options(asked=document_options, where=where_options)
def create(
    *,
    replace: Annotated[bool, typer.Option("--replace", help="If there is one, make it what the flags say.")] = False,
    wake: Annotated[
        bool, typer.Option("--wake", help="Start it once as well, to see that its image and its Secrets are there.")
    ] = False,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    asked: dict[str, Any],
    where: Where,
) -> None:
    """Create a preview, and print its URL. The same call again gives the same result."""
    from weir.previews.run import How, run_create

    if wake and not wait:
        raise typer.BadParameter("needs --wait", param_hint="--wake")
    how = How(output=output, wait=wait, patience=timeout, dry_run=dry_run, wake=wake)
    raise typer.Exit(run_create(where, asked, how, replace=replace))


@app.command("list")
@with_options(where=where_options)
def list_(
    *,
    base: _Base = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print it again every two seconds until interrupted.")] = False,
    output: Output = "text",
    where: Where,
) -> None:
    """Print the previews of a namespace: where they are, awake or asleep, last used, time left."""
    from weir.previews.run import run_list

    raise typer.Exit(run_list(where, base, output, watch=watch))


@app.command()
@with_options(where=where_options)
def show(name: _Id, *, base: _Base = None, output: Output = "text", where: Where) -> None:
    """Print what a preview is, and how it is."""
    from weir.previews.run import run_show

    raise typer.Exit(run_show(where, name, base, output))


@app.command()
@with_options(where=where_options)
def extend(
    name: _Id,
    *,
    base: _Base = None,
    duration: Annotated[
        float | None,
        typer.Option("--for", parser=time_of, metavar="TIME", help="From now on; default: its --ttl.", show_default=False),
    ] = None,
    output: Output = "text",
    where: Where,
) -> None:
    """Let a preview live for longer. What it has anyway is not made less."""
    from weir.previews.run import run_extend

    raise typer.Exit(run_extend(where, name, base, output, seconds=duration))


@app.command()
@with_options(where=where_options)
def delete(
    name: _Id,
    *,
    base: _Base = None,
    ignore_missing: Annotated[bool, typer.Option("--ignore-missing", help="It is no error if there is none.")] = False,
    output: Output = "text",
    wait: Wait = True,
    timeout: _Timeout = _PATIENCE,
    dry_run: DryRun = False,
    where: Where,
) -> None:
    """Delete a preview, and all that was made for it. Its hooks after run first."""
    from weir.previews.run import How, run_delete

    how = How(output=output, wait=wait, patience=timeout, dry_run=dry_run)
    raise typer.Exit(run_delete(where, name, base, how, ignore_missing=ignore_missing))
