"""The commands of `weir preview`: calls of the Admin API, and what is printed of their answers.

Made for CI: standard output has the URL and nothing else, everything for people is on standard error, and the exit code tells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from fleet.runtime.terminal import complain, say
from weir.apps.admin_client import AdminClient, Answer
from weir.apps.answers import PAGE, inner_of, object_of, pages, text_of
from weir.apps.failure import FAILED, INVALID, NOT_FOUND, NOT_YET, NotDoneError
from weir.apps.given import flag_of
from weir.apps.names import asked_in_time
from weir.apps.output import print_fields, print_table, print_value
from weir.apps.progress import Steps
from weir.apps.session import in_cluster
from weir.apps.where import Where, opened_cluster
from weir.previews.document import preview_document

__all__ = ["How", "base_names", "preview_names", "run_create", "run_delete", "run_extend", "run_list", "run_show"]

WATCH_SECONDS = 2.0
GRACE_SECONDS = 30.0
"""Seconds for the server's last word after the time that it was given."""
MAX_CONDITIONS = 50
_GOOD = {"", "served", "awake", "deleted"}
"""Outcomes of waiting that were waited for."""
_COLUMNS = ("NAME", "BASE", "PREVIEW", "STATE", "LAST USED", "LEFT", "URL", "REASON")

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a change is made."""

    output: str
    wait: bool
    patience: float
    """Seconds to wait at most."""
    dry_run: bool
    wake: bool = False

    @property
    def query(self) -> dict[str, str]:
        waiting = {"timeout": str(max(1, math.ceil(self.patience)))} if self.wait and not self.dry_run else {}
        return {**waiting, **({"dryRun": "All"} if self.dry_run else {}), **({"wake": "true"} if self.wake else {})}


class _Previews:
    """The previews of one namespace. Every method raises NotDoneError."""

    def __init__(self, client: AdminClient, namespace: str) -> None:
        self.client, self.namespace = client, namespace
        self.base = f"/v1/namespaces/{quote(namespace, safe='')}/previews"

    def at(self, name: str, base: str | None, what: str = "") -> str:
        return f"{self.base}/{quote(_id(name, base), safe='')}{what}"

    def changed(self, method: str, path: str, how: How, **what: Any) -> Answer:
        try:
            with Steps() as steps:
                if not how.wait or how.dry_run:
                    return self.client.ask(method, path, query=how.query, **what)
                steps.tell("asking")
                return self.client.follow(
                    method,
                    path,
                    lambda event: steps.tell(text_of(event, "step"), text_of(event, "message") or text_of(event, "reason")),
                    patience=how.patience + GRACE_SECONDS,
                    query=how.query,
                    **what,
                )
        except NotDoneError as error:
            if error.code == INVALID:
                raise NotDoneError(*map(flag_of, error.lines), code=INVALID) from error
            raise

    def every(self) -> Iterator[View]:
        return pages(self.client, self.base, "previews")

    def one(self, name: str) -> View:
        return object_of(self.client.ask("GET", self.at(name, None)).value)


class _Read(Protocol):
    """Previews that are looked at, in a cluster or in a running `weir up`. Every method raises NotDoneError."""

    def every(self) -> Iterator[View]: ...

    def one(self, name: str) -> View: ...


def run_create(where: Where, asked: Mapping[str, Any], how: How, *, replace: bool) -> int:
    try:
        document = preview_document(**asked)
    except NotDoneError as error:  # before a cluster is looked for
        return _complained(error)

    def act(previews: _Previews) -> int:
        name = _id(document["name"], document["base"])
        if replace:
            answer = previews.changed("PUT", previews.at(name, None), how, body=document)
        else:
            answer = previews.changed("POST", previews.base, how, body=document)
        if how.dry_run:
            print_value(object_of(answer.value).get("objects"), "yaml" if how.output == "text" else how.output)
            return 0
        if answer.value is None:
            raise NotDoneError(_reason(answer), f"weir preview show {name} --namespace {previews.namespace} tells", code=NOT_YET)
        found = object_of(answer.value)
        if how.output != "text":
            print_value(found, how.output)
        return _printed(previews, name, answer, found, text=how.output == "text", word="replaced" if replace else "there already")

    return _at(where, act)


def _printed(previews: _Previews, name: str, answer: Answer, found: View, *, text: bool, word: str) -> int:
    if answer.outcome not in _GOOD:
        complain(f"{previews.namespace}/{name} is written, and {_reason(answer)}")
        return FAILED if answer.final else NOT_YET
    state = f", and {answer.outcome}" if answer.outcome else ""
    complain(f"{previews.namespace}/{name} is {'created' if answer.created else word}{state}")
    if left := text_of(found, "seconds_left"):
        complain(f"  it is deleted in {_span(left)}, unless it is used or extended")
    for condition in _conditions(found):
        if condition.get("type") == "Reachable" and condition.get("status") == "False":
            complain(f"  {text_of(condition, 'reason')}: {text_of(condition, 'message')}")
    if not (url := text_of(found, "url")):
        complain("  it has no host of its own that is known by now: weir preview show tells, or choose it by the header")
    elif text:
        say(url)
    return 0


def run_list(where: Where, base: str | None, output: str, *, watch: bool) -> int:
    def listed(every: Callable[[], Iterable[View]]) -> int:
        while True:
            _print([item for item in every() if base in (None, item.get("base"))], output)
            if not watch:
                return 0
            time.sleep(WATCH_SECONDS)

    return _anywhere(where, lambda previews: listed(previews.every))


def _print(items: Sequence[View], output: str) -> None:
    if output != "text":
        print_value([*items], output)
    elif items:
        print_table(_COLUMNS, map(_row, items))
    else:
        complain("there are no previews")


def _row(item: View) -> Sequence[str]:
    left = text_of(item, "seconds_left")
    reason = "" if item.get("ready") == "True" else text_of(item, "reason")
    named = [text_of(item, name) for name in ("id", "base", "name", "state")]
    return (*named, text_of(item, "last_used") or "-", _span(left) if left else "-", text_of(item, "url") or "-", reason)


def run_show(where: Where, name: str, base: str | None, output: str) -> int:
    def act(previews: _Read) -> int:
        found = previews.one(_id(name, base))
        if output != "text":
            print_value(found, output)
            return 0
        document, replicas, left = inner_of(found, "document"), inner_of(found, "replicas"), text_of(found, "seconds_left")
        fields = {
            "base": text_of(found, "base"),
            "name": text_of(found, "name"),
            "copy in": "" if found.get("copy_namespace") == found.get("namespace") else text_of(found, "copy_namespace"),
            "state": text_of(found, "state"),
            "reason": _why(found) if text_of(found, "state") in ("deleting", "failing") else "",
            "url": text_of(found, "url"),
            "image": text_of(document, "image"),
            "replicas": f"{text_of(replicas, 'ready')} ready of {text_of(replicas, 'wanted')} wanted" if replicas else "",
            "last used": text_of(found, "last_used"),
            "expires": f"{text_of(found, 'expires_at')}, in {_span(left)}" if left else "",
            "file": text_of(found, "file"),
        }
        print_fields(f"{text_of(found, 'namespace')}/{text_of(found, 'id')}", fields)
        names = ("type", "status", "reason", "message")
        rows = [tuple(text_of(each, column) for column in names) for each in _conditions(found)]
        if rows:
            say("")
            print_table([column.upper() for column in names], rows)
        return 0

    return _anywhere(where, act)


def run_extend(where: Where, name: str, base: str | None, output: str, *, seconds: float | None) -> int:
    def act(previews: _Previews) -> int:
        query = {} if seconds is None else {"seconds": str(max(1, math.ceil(seconds)))}
        found = object_of(previews.client.ask("POST", previews.at(name, base, "/extend"), query=query).value)
        if output != "text":
            print_value(found, output)
            return 0
        until = text_of(found, "expires_at")
        say(f"{previews.namespace}/{text_of(found, 'id')} lives {f'until {until} at least' if until else 'for ever'}")
        return 0

    return _at(where, act)


def run_delete(where: Where, name: str, base: str | None, how: How, *, ignore_missing: bool) -> int:
    def act(previews: _Previews) -> int:
        try:
            answer = previews.changed("DELETE", previews.at(name, base), how)
        except NotDoneError as error:
            if error.code == NOT_FOUND and ignore_missing:
                complain(f"there is no {previews.namespace}/{_id(name, base)}")
                return 0
            raise
        is_left = answer.status == 202 or answer.outcome not in _GOOD
        word = "would be deleted" if how.dry_run else "is deleted"
        if how.output == "text":
            more = "; the cluster is still removing what belonged to it" if is_left else ""
            if is_left and answer.message:
                word, more = "is being deleted", f", and its hooks after run: {answer.message}"
            say(f"{previews.namespace}/{_id(name, base)} {word}{more}")
        else:
            found = {"namespace": previews.namespace, "id": _id(name, base), "gone": not is_left}
            print_value({**found, **({"message": answer.message} if answer.message else {})}, how.output)
        if answer.message and not is_left:
            complain(f"{answer.message}: what its hooks after were to remove may be left")
            return FAILED
        return NOT_YET if is_left and how.wait else 0

    return _at(where, act)


def preview_names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Completions: names as the commands take them."""
    base = typed.get("base")

    def ask(where: Where, found: list[str]) -> None:
        with opened_cluster(where, what="previews") as (client, namespace, _):
            for item in _Previews(client, namespace).every():
                if base is None:
                    found.append(text_of(item, "id"))
                elif item.get("base") == base:
                    found.append(text_of(item, "name"))

    return asked_in_time(typed, incomplete, ask)


def base_names(typed: Mapping[str, Any], incomplete: str) -> Sequence[str]:
    """Completions: apps that have previews, and those of the Admin API."""

    def ask(where: Where, found: list[str]) -> None:
        with opened_cluster(where, what="previews") as (client, namespace, _):
            found += [text_of(item, "base") for item in _Previews(client, namespace).every()]
            path = f"/v1/namespaces/{quote(namespace, safe='')}/apps"
            items = object_of(client.ask("GET", path, query={"limit": str(PAGE)}).value).get("items")
            found += [text_of(object_of(item), "name") for item in items] if isinstance(items, list) else []

    return asked_in_time(typed, incomplete, ask)


def _at(where: Where, act: Callable[[_Previews], int]) -> int:
    """Do something with the previews of a namespace; returns the exit code."""
    return in_cluster(
        where,
        "previews",
        lambda client, namespace: act(_Previews(client, namespace)),
        more=lambda namespace: f"it goes on there: weir preview list --namespace {namespace} tells",
    )


def _anywhere(where: Where, act: Callable[[_Read], int]) -> int:
    """Look at previews where they are; returns the exit code."""
    try:
        is_local = where.is_local()
    except NotDoneError as error:
        return _complained(error)
    if is_local:
        from weir.previews.here import previews_here  # noqa: PLC0415  it loads the engine's description of its file

        return previews_here(where, act)
    return _at(where, act)


def _complained(error: NotDoneError) -> int:
    for line in error.lines:
        complain(line)
    return error.code


def _why(found: View) -> str:
    return ": ".join(filter(None, (text_of(found, "reason"), text_of(found, "message"))))


def _id(name: str, base: str | None) -> str:
    """By which the Admin API knows it."""
    return name if base is None else f"{base}--{name}"


def _reason(answer: Answer) -> str:
    return f"{answer.outcome}: {answer.message}".removesuffix(": ")


def _span(seconds: str) -> str:
    """ "2d3h", "3h4m", "4m5s" of a number of seconds."""
    left, parts = int(seconds) if seconds.isdecimal() else 0, list[str]()
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2]) or "0s"


def _conditions(view: View) -> list[View]:
    found = view.get("conditions")
    every: list[View] = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return every[:MAX_CONDITIONS]
