"""The commands of `weir release`: calls of the Admin API, and what is printed of their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fleet.runtime.terminal import complain, say
from weir.apps.admin_client import AdminClient, Answer
from weir.apps.answers import inner_of, items_of, object_of, text_of
from weir.apps.failure import NotDoneError
from weir.apps.output import print_fields, print_table, print_value
from weir.apps.progress import Steps
from weir.apps.session import in_cluster
from weir.apps.where import Where
from weir.releases.document import Asked, release_document

__all__ = ["Change", "Releases", "run_change", "run_history", "run_install", "run_list", "run_status", "run_upgrade"]

PAGE = 256
MAX_RELEASES = 10_000
"""Releases of one list. A server that gives more pages is not to be followed for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How a change is made."""

    output: str = "text"
    wait: bool = True
    patience: float
    dry_run: bool = False


class Releases:
    """The releases of one namespace."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self._base = f"/v1/namespaces/{quote(namespace, safe='')}/releases"

    def at(self, name: str, what: str = "") -> str:
        return f"{self._base}/{quote(name, safe='')}{what}"

    def changed(self, method: str, path: str, change: Change, steps: Steps, **what: Any) -> Answer:
        """Make a change, telling how far it is. `path` "" is the list itself."""
        path = path or self._base
        query = {**what.pop("query", {}), **({"dryRun": "All"} if change.dry_run else {})}
        if change.dry_run or not change.wait:
            steps.tell("asking")  # the answer comes when helm is done, without a word in between
            return self.client.ask(method, path, query=query, silence=change.patience, **what)
        return self.client.follow(
            method, path, lambda event: steps.tell(text_of(event, "step")), patience=change.patience, query=query, **what
        )

    def every(self) -> Iterator[Mapping[str, Any]]:
        offset, count = 0, 0
        while True:
            query = {"limit": str(PAGE), "offset": str(offset)}
            page = object_of(self.client.ask("GET", self._base, query=query).value)
            items = items_of(page)
            count += len(items)
            yield from items
            following = page.get("next")
            if not isinstance(following, int):
                return
            if following <= offset or count >= MAX_RELEASES:
                raise NotDoneError(f"the server's list does not end after {count} releases")
            offset = following


def run_install(where: Where, name: str, asked: Asked, change: Change) -> int:
    def act(releases: Releases) -> int:
        document = release_document(name, asked)
        with Steps() as steps:
            answer = releases.changed("POST", "", change, steps, body=document)
        return _changed(releases, name, "is installed", answer, change)

    return _at(where, name, act)


def run_upgrade(where: Where, name: str, asked: Asked, change: Change, *, install: bool) -> int:
    def act(releases: Releases) -> int:
        document = release_document(name, asked)
        with Steps() as steps:
            if not install:
                releases.client.ask("GET", releases.at(name))
            answer = releases.changed("PUT", releases.at(name), change, steps, body=document)
        return _changed(releases, name, "is upgraded", answer, change)

    return _at(where, name, act)


def run_change(where: Where, name: str, change: Change, *, revision: int | None = None, delete: bool = False) -> int:
    """Roll back to a revision (None: the one before), or delete."""

    def act(releases: Releases) -> int:
        with Steps() as steps:
            if delete:
                answer = releases.changed("DELETE", releases.at(name), change, steps)
            else:
                body = {} if revision is None else {"revision": revision}
                answer = releases.changed("POST", releases.at(name, "/rollback"), change, steps, body=body)
        word = ("would be deleted" if change.dry_run else "is deleted") if delete else "is rolled back"
        return _changed(releases, name, word, answer, change)

    return _at(where, name, act)


def run_status(where: Where, name: str, output: str, *, values: bool) -> int:
    def act(releases: Releases) -> int:
        found = object_of(releases.client.ask("GET", releases.at(name)).value)
        if values:
            print_value(found.get("values"), "yaml" if output == "text" else output)
        elif output != "text":
            print_value(found, output)
        else:
            _print(found)
        return 0

    return _at(where, name, act)


def run_history(where: Where, name: str, output: str) -> int:
    def act(releases: Releases) -> int:
        items = items_of(object_of(releases.client.ask("GET", releases.at(name, "/history")).value))
        return _print_items(items, ("revision", "updated", "status", "chart", "app_version", "description"), output)

    return _at(where, name, act)


def run_list(where: Where, output: str) -> int:
    def act(releases: Releases) -> int:
        items = [*releases.every()]
        if output == "text" and not items:
            complain("there are no releases")
            return 0
        return _print_items(items, ("name", "revision", "status", "chart", "app_version", "updated"), output)

    return _at(where, "", act)


def _print_items(items: Sequence[Mapping[str, Any]], names: Sequence[str], output: str) -> int:
    if output == "text":
        print_table(
            [name.upper().replace("_", " ") for name in names], ([text_of(item, name) for name in names] for item in items)
        )
    else:
        print_value([*items], output)
    return 0


def _changed(releases: Releases, name: str, word: str, answer: Answer, change: Change) -> int:
    if change.output != "text":
        if answer.value is not None:
            print_value(answer.value, change.output)
    elif change.dry_run and isinstance(answer.value, dict):
        for line in text_of(answer.value, "manifest").splitlines():
            say(line)
    else:
        revision = inner_of(answer.value, "revision")
        number = f", revision {revision['revision']}" if isinstance(revision.get("revision"), int) else ""
        say(f"{releases.namespace}/{name} {word}{number}")
        for line in text_of(object_of(answer.value), "notes").splitlines() if answer.value else ():
            say(line)
    return 0


def _print(found: Mapping[str, Any]) -> None:
    revision = inner_of(found, "revision")
    names = ("revision", "status", "chart", "app_version", "updated", "description")
    title = f"{text_of(found, 'namespace')}/{text_of(found, 'name')}"
    print_fields(title, {name.replace("_", " "): text_of(revision, name) for name in names})
    for line in text_of(found, "notes").splitlines():
        say(line)


def _at(where: Where, name: str, act: Callable[[Releases], int]) -> int:
    """Do something with the releases of a namespace; returns the exit code."""
    return in_cluster(
        where,
        "releases",
        lambda client, namespace: act(Releases(client, namespace)),
        more=lambda namespace: f"it goes on there, and may be done: weir release status {name} --namespace {namespace} tells",
    )
