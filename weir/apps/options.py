"""Groups of options that several commands have, each written once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from weir.apps.given import Given
from weir.apps.needs import FORM
from weir.apps.where import TOKEN_VARIABLE, Where

__all__ = ["given_options", "where_options", "with_options"]

_PLACE = "Where"
_DOCUMENT = "The app"


def _option(*names: str, panel: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, show_default=False, **settings)


def where_options(
    *,
    local: Annotated[bool, _option("--local", panel=_PLACE, help="In a weir up on this machine.")] = False,
    cluster: Annotated[bool, _option("--cluster", panel=_PLACE, help="In a cluster, also while a weir up runs.")] = False,
    of: Annotated[Path | None, _option("--of", metavar="FILE", panel=_PLACE, help="In the weir up of that file.")] = None,
    namespace: Annotated[
        str | None, _option("--namespace", "-n", panel=_PLACE, help="Namespace; default: that of the context.")
    ] = None,
    context: Annotated[str | None, _option("--context", panel=_PLACE, help="Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[
        str | None, _option("--kubeconfig", metavar="FILE", panel=_PLACE, help="Instead of KUBECONFIG and ~/.kube/config.")
    ] = None,
    server: Annotated[
        str | None, _option("--server", metavar="URL", panel=_PLACE, help="The Admin API itself, without a port-forward.")
    ] = None,
    token: Annotated[
        str | None, _option("--token", panel=_PLACE, help=f"Token to call with; {TOKEN_VARIABLE} is not seen by others.")
    ] = None,
    ca: Annotated[Path | None, _option("--ca", metavar="FILE", panel=_PLACE, help="Certificates to trust, in PEM.")] = None,
    token_of: Annotated[
        str | None,
        _option("--token-of", metavar="ACCOUNT", panel=_PLACE, help="Ask the cluster for a token of this ServiceAccount."),
    ] = None,
    audience: Annotated[str | None, _option("--audience", panel=_PLACE, help="Whom that token is for.")] = None,
    weir_namespace: Annotated[
        str | None, _option("--weir-namespace", panel=_PLACE, help="Namespace of Weir; default weir-system, or where it is.")
    ] = None,
) -> Where:
    """Where the app is."""
    return Where(
        local=local,
        cluster=cluster,
        of=of,
        namespace=namespace,
        context=context,
        kubeconfig=kubeconfig,
        server=server,
        token=token,
        ca=ca,
        token_of=token_of,
        audience=audience,
        weir_namespace=weir_namespace,
    )


_Texts = list[str] | None


def given_options(
    *,
    image: Annotated[str | None, _option("--image", panel=_DOCUMENT, help="Image of the container (cluster).")] = None,
    command: Annotated[
        str | None, _option("--command", panel=_DOCUMENT, help="Command line; in a cluster instead of the image's own.")
    ] = None,
    arg: Annotated[_Texts, _option("--arg", panel=_DOCUMENT, help="Argument of the command (cluster).")] = None,
    port: Annotated[
        _Texts, _option("--port", panel=_DOCUMENT, metavar="[NAME=]PORT[/PROTOCOL]", help="Where it listens.")
    ] = None,
    host: Annotated[_Texts, _option("--host", panel=_DOCUMENT, help="Host whose requests it gets.")] = None,
    path: Annotated[_Texts, _option("--path", panel=_DOCUMENT, help="Prefix of the paths whose requests it gets.")] = None,
    env: Annotated[_Texts, _option("--env", "-e", panel=_DOCUMENT, metavar="NAME=VALUE", help="Variable.")] = None,
    env_secret: Annotated[
        _Texts, _option("--env-secret", panel=_DOCUMENT, metavar="NAME=SECRET:KEY", help="Variable from a Secret (cluster).")
    ] = None,
    request: Annotated[_Texts, _option("--request", panel=_DOCUMENT, metavar="cpu=250m", help="Resources (cluster).")] = None,
    limit: Annotated[_Texts, _option("--limit", panel=_DOCUMENT, metavar="memory=1Gi", help="Limits (cluster).")] = None,
    min_: Annotated[int | None, _option("--min", panel=_DOCUMENT, help="Least replicas; 0: it sleeps.")] = None,
    max_: Annotated[int | None, _option("--max", panel=_DOCUMENT, help="Most replicas.")] = None,
    target: Annotated[int | None, _option("--target", panel=_DOCUMENT, help="Requests at once for one replica.")] = None,
    rate: Annotated[int | None, _option("--rate", panel=_DOCUMENT, help="Requests per second for one replica.")] = None,
    health_path: Annotated[
        str | None, _option("--health-path", panel=_DOCUMENT, help="Path that answers 2xx or 3xx when a replica is ready.")
    ] = None,
    cooldown: Annotated[
        str | None, _option("--cooldown", panel=_DOCUMENT, metavar="TIME", help="From the last request to sleep: 90s, 5m.")
    ] = None,
    depends_on: Annotated[
        _Texts, _option("--depends-on", panel=_DOCUMENT, metavar=FORM, help="App that wakes together with this one.")
    ] = None,
    service_account: Annotated[
        str | None, _option("--service-account", panel=_DOCUMENT, help="ServiceAccount of the pods (cluster).")
    ] = None,
    cwd: Annotated[str | None, _option("--cwd", panel=_DOCUMENT, help="Directory of the command (weir up).")] = None,
    set_: Annotated[
        _Texts, _option("--set", panel=_DOCUMENT, metavar="FIELD=VALUE", help="Any field: replicas.max=3, schedule=[…].")
    ] = None,
) -> Given:
    """What the app is."""
    return Given(
        image=image,
        command=command,
        arg=arg or (),
        port=port or (),
        host=host or (),
        path=path or (),
        env=env or (),
        env_secret=env_secret or (),
        request=request or (),
        limit=limit or (),
        min=min_,
        max=max_,
        target=target,
        rate=rate,
        health_path=health_path,
        cooldown=cooldown,
        depends_on=depends_on or (),
        account=service_account,
        cwd=cwd,
        set=set_ or (),
    )


def with_options(**groups: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of groups, each of which it takes as one argument of that name."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = _parameters(command)
        kept = [parameter for parameter in own if parameter.name not in groups]
        added = [parameter for group in groups.values() for parameter in _parameters(group)]

        @functools.wraps(command)
        def called(**typed: Any) -> None:
            for name, value in typed.items():
                _check_text(name, value)
            arguments = {parameter.name: typed[parameter.name] for parameter in kept}
            for name, group in groups.items():
                arguments[name] = group(**{parameter.name: typed[parameter.name] for parameter in _parameters(group)})
            command(**arguments)

        called.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *added)}
        return called

    return decorated


def _check_text(name: str, value: Any) -> None:
    """Bytes that are no UTF-8 arrive as halves of characters, which neither a file nor a request has. Raises BadParameter."""
    for each in value if isinstance(value, list) else [value]:
        try:
            str(each).encode()
        except UnicodeEncodeError as error:
            raise typer.BadParameter("has bytes that are no text (UTF-8)", param_hint=name) from error


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """With annotations that are evaluated."""
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    return [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
    ]
