"""The commands of `weir port`: calls of the Admin API, or of a running `weir up`, and what is printed of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from fleet.runtime.terminal import complain, say
from weir.apps.admin_client import AdminClient
from weir.apps.answers import items_of, object_of, text_of
from weir.apps.failure import CONFLICT, INTERRUPTED, NotDoneError, UsageError
from weir.apps.names import asked_in_time
from weir.apps.output import print_table, print_value
from weir.apps.where import Where, opened_cluster
from weir.local import EngineError, ask_engine
from weir.running import Running, engines

__all__ = ["lease_names", "run_lease", "run_list", "run_release"]

_COLUMNS = ("name", "protocol", "port", "entry", "address", "app", "until")


class _Leases(Protocol):
    """The leases of one place. Every method raises NotDoneError."""

    namespace: str

    def every(self) -> Sequence[Mapping[str, Any]]: ...

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """The lease, and whether it is new."""

    def release(self, name: str) -> None: ...


class _InCluster:
    """By the Admin API."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self._base = f"/v1/namespaces/{quote(namespace, safe='')}/ports"

    def every(self) -> Sequence[Mapping[str, Any]]:
        return items_of(object_of(self._client.ask("GET", self._base).value))

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        answer = self._client.ask("POST", self._base, body=dict(asked))
        return object_of(answer.value), answer.created

    def release(self, name: str) -> None:
        self._client.ask("DELETE", f"{self._base}/{quote(name, safe='')}")


class _Here:
    """In a running weir up: kept until it ends."""

    def __init__(self, of: Path | None, namespace: str | None) -> None:
        self._of, self._namespace = of, namespace
        self.namespace = namespace or "default"

    def every(self) -> Sequence[Mapping[str, Any]]:
        found = [item for engine in engines(self._of) for item in items_of(self._ask(engine, {"action": "list"}))]
        return [item for item in found if self._namespace in (None, item.get("namespace"))]

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        for field in asked.keys() - {"name", "protocol"}:
            raise UsageError(f"--{field}: is for a cluster")
        if "name" not in asked:
            raise UsageError("NAME is missing: here a lease is nothing without one")
        found = self._ask(self._only(), {"action": "lease", "namespace": self.namespace, **asked})
        return found, found.get("created") is True

    def release(self, name: str) -> None:
        self._ask(self._only(), {"action": "release", "namespace": self.namespace, "name": name})

    def _only(self) -> Running:
        found = engines(self._of)
        if len(found) != 1:
            which = ", ".join(engine.file for engine in found)
            raise NotDoneError(f"several weir up run here: --of FILE says which, {which}" if found else "no weir up runs here")
        return found[0]

    @staticmethod
    def _ask(engine: Running, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return ask_engine(engine, "ports", body)
        except EngineError as error:
            raise NotDoneError(str(error), code=CONFLICT) from error


@contextmanager
def _opened(where: Where) -> Iterator[_Leases]:
    if where.is_local():
        yield _Here(where.of, where.namespace)
        return
    with opened_cluster(where, what="leases") as (client, namespace, _):
        yield _InCluster(client, namespace)


def run_lease(where: Where, asked: Mapping[str, Any], output: str) -> int:
    def act(leases: _Leases) -> int:
        body = {field: value for field, value in asked.items() if value is not None}
        found, created = leases.lease(body)
        if output != "text":
            print_value(found, output)
            return 0
        name = f"{leases.namespace}/{text_of(found, 'name')}"
        say(f"{name} {'is leased' if created else 'is leased already'}")
        at = text_of(found, "address") or text_of(found, "entry")
        say(f"  {text_of(found, 'protocol')} {text_of(found, 'port')}" + (f" at {at}" if at else ""))
        if text_of(found, "until"):
            say(f"  until {text_of(found, 'until')}, if nothing uses it")
        return 0

    return _at(where, act)


def run_list(where: Where, output: str) -> int:
    def act(leases: _Leases) -> int:
        items = leases.every()
        if output != "text":
            print_value([*items], output)
        elif items:
            columns = [name for name in _COLUMNS if any(name in item for item in items)]
            print_table([name.upper() for name in columns], ([text_of(item, name) for name in columns] for item in items))
        else:
            complain("there are no leases")
        return 0

    return _at(where, act)


def run_release(where: Where, name: str, output: str) -> int:
    def act(leases: _Leases) -> int:
        leases.release(name)
        if output == "text":
            say(f"{leases.namespace}/{name} is released")
        else:
            print_value({"namespace": leases.namespace, "name": name}, output)
        return 0

    return _at(where, act)


def lease_names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Completions."""

    def ask(where: Where, found: list[str]) -> None:
        with _opened(where) as leases:
            for item in leases.every():
                found += [text_of(item, "name"), text_of(item, "id")]

    return asked_in_time(typed, incomplete, ask)


def _at(where: Where, act: Callable[[_Leases], int]) -> int:
    """Act on the leases there; returns the exit code."""
    try:
        with _opened(where) as leases:
            return act(leases)
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        return error.code
    except KeyboardInterrupt:
        complain("interrupted; weir port list tells what there is")
        return INTERRUPTED
