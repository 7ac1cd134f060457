"""The commands of `weir port`: calls of the Admin API, and what is printed of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fleet.runtime.terminal import complain, say
from weir.apps.admin_client import AdminClient
from weir.apps.failure import INTERRUPTED, NotDoneError
from weir.apps.names import asked_in_time
from weir.apps.output import print_table, print_value
from weir.apps.where import Where, opened_cluster

__all__ = ["lease_names", "run_lease", "run_list", "run_release"]

_COLUMNS = ("name", "protocol", "port", "entry", "address", "app", "until")


class _Leases:
    """The leases of one namespace."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.base = f"/v1/namespaces/{quote(namespace, safe='')}/ports"

    def every(self) -> Sequence[Mapping[str, Any]]:
        items = _object(self.client.ask("GET", self.base).value).get("items")
        return [_object(item) for item in items] if isinstance(items, list) else []


def run_lease(where: Where, asked: Mapping[str, Any], output: str) -> int:
    def act(leases: _Leases) -> int:
        body = {field: value for field, value in asked.items() if value is not None}
        answer = leases.client.ask("POST", leases.base, body=body)
        found = _object(answer.value)
        if output != "text":
            print_value(found, output)
            return 0
        name = f"{leases.namespace}/{_text(found, 'name')}"
        say(f"{name} {'is leased' if answer.created else 'is leased already'}")
        say(f"  {_text(found, 'protocol')} {_text(found, 'port')} at {_text(found, 'address') or _text(found, 'entry')}")
        if _text(found, "until"):
            say(f"  until {_text(found, 'until')}, if nothing uses it")
        return 0

    return _at(where, act)


def run_list(where: Where, output: str) -> int:
    def act(leases: _Leases) -> int:
        items = leases.every()
        if output != "text":
            print_value([*items], output)
        elif items:
            print_table([name.upper() for name in _COLUMNS], ([_text(item, name) for name in _COLUMNS] for item in items))
        else:
            complain("there are no leases")
        return 0

    return _at(where, act)


def run_release(where: Where, name: str, output: str) -> int:
    def act(leases: _Leases) -> int:
        leases.client.ask("DELETE", f"{leases.base}/{quote(name, safe='')}")
        if output == "text":
            say(f"{leases.namespace}/{name} is released")
        else:
            print_value({"namespace": leases.namespace, "name": name}, output)
        return 0

    return _at(where, act)


def lease_names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Completions."""

    def ask(where: Where, found: list[str]) -> None:
        with opened_cluster(where, what="leases") as (client, namespace, _):
            for item in _Leases(client, namespace).every():
                found += [_text(item, "name"), _text(item, "id")]

    return asked_in_time(typed, incomplete, ask)


def _at(where: Where, act: Callable[[_Leases], int]) -> int:
    """Act on the leases there; returns the exit code."""
    try:
        with opened_cluster(where, what="leases") as (client, namespace, _):
            return act(_Leases(client, namespace))
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        return error.code
    except KeyboardInterrupt:
        complain("interrupted; weir port list tells what there is")
        return INTERRUPTED


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NotDoneError("the server's answer is not one of an Admin API")
    return value


def _text(view: Mapping[str, Any], name: str) -> str:
    value = view.get(name)
    return "" if value is None or isinstance(value, dict | list) else str(value)
