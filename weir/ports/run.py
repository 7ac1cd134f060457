"""The commands of `weir port`: calls of the Admin API, or of a running `weir up`, and what is printed of their answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from controller.schema.ports import LEASE_NAME, MAX_LEASE_NAME
from fleet.runtime.terminal import complain, one_line, say
from weir.apps.admin_client import AdminClient
from weir.apps.answers import items_of, object_of, text_of
from weir.apps.failure import CONFLICT, INTERRUPTED, NOT_DONE, NOT_FOUND, UNREACHABLE, NotDoneError, UsageError
from weir.apps.names import asked_in_time
from weir.apps.output import print_table, print_value
from weir.apps.where import Where, opened_cluster
from weir.local import EngineError, EngineRefused, EngineSilent, ask_engine
from weir.running import Running, engines

__all__ = ["lease_names", "run_lease", "run_list", "run_release"]

_COLUMNS = ("name", "protocol", "port", "entry", "address", "app", "until")


_LEASE_NAME = re.compile(LEASE_NAME)


class _Leases(Protocol):
    """The leases of one place. Every method raises NotDoneError."""

    namespace: str
    columns: Sequence[str]
    """Of the list."""

    def every(self) -> Sequence[Mapping[str, Any]]: ...

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """The lease, and whether it is new."""

    def release(self, name: str) -> str:
        """By its name or its id; returns its namespace."""


class _InCluster:
    """By the Admin API."""

    columns: Sequence[str] = _COLUMNS

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self._client, self.namespace = client, namespace
        self._base = f"/v1/namespaces/{quote(namespace, safe='')}/ports"

    def every(self) -> Sequence[Mapping[str, Any]]:
        return items_of(object_of(self._client.ask("GET", self._base).value))

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        answer = self._client.ask("POST", self._base, body=dict(asked))
        return object_of(answer.value), answer.created

    def release(self, name: str) -> str:
        self._client.ask("DELETE", f"{self._base}/{quote(name, safe='')}")
        return self.namespace


class _Here:
    """In a running weir up: kept until it ends."""

    columns: Sequence[str] = ("namespace", *_COLUMNS)

    def __init__(self, of: Path | None, namespace: str | None) -> None:
        self._of, self._namespace = of, namespace
        self.namespace = namespace or "default"

    def every(self) -> Sequence[Mapping[str, Any]]:
        return [item for _, item in self._each(self._running())]

    def lease(self, asked: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        for field in asked.keys() - {"name", "protocol"}:
            raise UsageError(f"--{field}: is for a cluster")
        if "name" not in asked:
            raise UsageError("NAME is missing: here a lease is nothing without one")
        found = self._ask(self._place_of(asked["name"]), {"action": "lease", "namespace": self.namespace, **asked})
        return found, found.get("created") is True

    def release(self, name: str) -> str:
        running = self._running()
        found = [(engine, item) for engine, item in self._each(running) if name in (item.get("name"), item.get("id"))]
        if not found:
            where = "" if self._namespace is None else f" in namespace {self._namespace}"
            raise NotDoneError(f"there is no lease {name}{where}", code=NOT_FOUND)
        if len(found) > 1:
            each = ", ".join(f"{text_of(item, 'namespace')}/{text_of(item, 'name')} of {engine.file}" for engine, item in found)
            raise UsageError(f"several leases are called {name}: --local --namespace, --of FILE or its id say which, {each}")
        [(engine, item)] = found
        namespace = text_of(item, "namespace")
        self._ask(engine, {"action": "release", "namespace": namespace, "name": text_of(item, "name")})
        return namespace

    def _place_of(self, name: str) -> Running:
        """Where a lease of this name is or can be made: in the one that has it, or the only one."""
        running = self._running()
        if len(running) == 1:
            return running[0]
        each = self._each(running)
        having = [engine for engine, item in each if (item.get("namespace"), item.get("name")) == (self.namespace, name)]
        if len(having) != 1:
            which = ", ".join(engine.file for engine in having or running)
            raise NotDoneError(f"several weir up {'have it' if having else 'run here'}: --of FILE says which, {which}")
        return having[0]

    def _running(self) -> Sequence[Running]:
        found = engines(self._of)
        if not found:
            raise NotDoneError("no weir up runs here" if self._of is None else f"no weir up runs {self._of}")
        return found

    def _each(self, running: Sequence[Running]) -> Sequence[tuple[Running, Mapping[str, Any]]]:
        """Every lease, and where it is."""
        found = [(engine, item) for engine in running for item in items_of(self._ask(engine, {"action": "list"}))]
        return [(engine, item) for engine, item in found if self._namespace in (None, item.get("namespace"))]

    @staticmethod
    def _ask(engine: Running, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return ask_engine(engine, "ports", body)
        except EngineError as error:
            codes = {EngineRefused: CONFLICT, EngineSilent: UNREACHABLE}
            raise NotDoneError(str(error), code=codes.get(type(error), NOT_DONE)) from error


@contextmanager
def _opened(where: Where) -> Iterator[_Leases]:
    if where.is_local():
        yield _Here(where.of, where.namespace)
        return
    with opened_cluster(where, what="leases") as (client, namespace, _):
        yield _InCluster(client, namespace)


def run_lease(where: Where, asked: Mapping[str, Any], output: str) -> int:
    def act(leases: _Leases) -> int:
        if asked.get("name") is not None:
            _check_name(str(asked["name"]))
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
            columns = [name for name in leases.columns if any(name in item for item in items)]
            print_table([name.upper() for name in columns], ([text_of(item, name) for name in columns] for item in items))
        else:
            complain("there are no leases")
        return 0

    return _at(where, act)


def run_release(where: Where, name: str, output: str) -> int:
    def act(leases: _Leases) -> int:
        _check_name(name)
        namespace = leases.release(name)
        if output == "text":
            say(f"{namespace}/{name} is released")
        else:
            print_value({"namespace": namespace, "name": name}, output)
        return 0

    return _at(where, act)


def _check_name(name: str) -> None:
    """Raises UsageError."""
    if len(name) > MAX_LEASE_NAME or not _LEASE_NAME.fullmatch(name):
        raise UsageError(
            f"{one_line(name[:MAX_LEASE_NAME])}: a name is at most {MAX_LEASE_NAME} of a-z, 0-9 and -, with no - at its ends"
        )


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
