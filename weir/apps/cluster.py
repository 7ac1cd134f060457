"""Apps of a cluster, by the Admin API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from weir.apps.admin_client import AdminClient, Answer, Json
from weir.apps.answers import inner_of, object_of, pages, text_of
from weir.apps.backend import How, Result, View
from weir.apps.failure import INVALID, NotDoneError, UsageError
from weir.apps.given import Given, cluster_document, flag_of
from weir.apps.needs import words_of

__all__ = ["Cluster"]

EXPIRED = 410
_GOOD = {"", "served", "deleted", "awake", "asleep"}
"""Outcomes of waiting that were waited for."""
_ORDERED = {
    ("wake", False): "wakes",
    ("wake", True): "is awake",
    ("sleep", False): "goes to sleep",
    ("sleep", True): "is asleep",
}


class Cluster:
    """The apps of one namespace."""

    def __init__(self, client: AdminClient, namespace: str, place: str) -> None:
        self._client, self.namespace, self.place = client, namespace, place
        self._base = f"/v1/namespaces/{quote(namespace, safe='')}/apps"

    def create(self, name: str, given: Given, how: How) -> Result:
        document = {**cluster_document(given), "name": name}
        answer = self._changed("POST", "", how, body=document)
        if how.dry_run:
            return _planned(answer)
        return self._result(name, "is created" if answer.created else "is there already, and is the same", answer)

    def update(self, name: str, given: Given, how: How) -> Result:
        if given.document is None:
            patch = cluster_document(given)
            for typed in given.unset:
                _unset(patch, typed.split("."))
            answer = self._changed("PATCH", f"/{quote(name, safe='')}", how, body=patch, if_match=how.if_match)
        else:
            if given.unset:
                raise UsageError("--unset: a field that is not in the file of --file has its default already")
            # The document is whole, so it replaces the old one: if there is one, and nobody else has changed it meanwhile.
            known = how.if_match or self._client.ask("GET", f"{self._base}/{quote(name, safe='')}").etag
            document = {**cluster_document(given), "name": name}
            answer = self._changed("PUT", f"/{quote(name, safe='')}", how, body=document, if_match=known or None)
        return _planned(answer) if how.dry_run else self._result(name, "is updated", answer)

    def delete(self, name: str, how: How) -> Result:
        answer = self._changed("DELETE", f"/{quote(name, safe='')}", how, if_match=how.if_match)
        if how.dry_run:
            return Result(summary=f"{self.namespace}/{name} would be deleted")
        is_left = answer.status == 202 or answer.outcome == "deleting"
        summary = "is deleted; the cluster is still removing what belonged to it" if is_left else "is deleted"
        return self._result(name, summary, answer)

    def order(self, verb: str, name: str, how: How, *, duration: float | None) -> Result:
        query = {"seconds": str(int(duration))} if duration is not None else {}
        answer = self._changed("POST", f"/{quote(name, safe='')}/{verb}", how, query=query)
        summary = _ORDERED[verb, answer.outcome in ("awake", "asleep")]
        if verb == "wake" and isinstance(answer.value, dict) and answer.value.get("awake_until"):
            summary += f", until {answer.value['awake_until']} at least"
        return self._result(name, summary, answer)

    def apps(self) -> Sequence[View]:
        for attempt in (1, 2):
            try:
                return [*pages(self._client, self._base, "apps")]
            except NotDoneError as error:
                if error.status != EXPIRED or attempt == 2:  # it was read too slowly: from its beginning, once
                    raise
        raise AssertionError("unreachable")

    def columns(self) -> Sequence[str]:
        return ("NAME", "READY", "REPLICAS", "URL", "REASON")

    def row(self, view: View) -> Sequence[str]:
        bounds = view.get("replicas")
        replicas = f"{bounds.get('min')}-{bounds.get('max')}" if isinstance(bounds, dict) else "-"
        return (text_of(view, "name"), text_of(view, "ready"), replicas, text_of(view, "url"), text_of(view, "reason"))

    def app(self, name: str) -> View:
        answer = self._client.ask("GET", f"{self._base}/{quote(name, safe='')}")
        return {**object_of(answer.value), **({"etag": answer.etag} if answer.etag else {})}

    def document(self, view: View) -> Any:
        document = view.get("app")
        if not isinstance(document, dict):
            raise NotDoneError("its objects were changed so far that no document says them")
        return document

    def fields(self, view: View) -> Mapping[str, str]:
        document, replicas = inner_of(view, "app"), inner_of(view, "replicas")
        bounds, active = inner_of(document, "replicas"), view.get("active")
        wanted = f"{replicas.get('ready')} ready of {replicas.get('wanted')} wanted"
        return {
            "state": text_of(view, "state"),
            "url": text_of(view, "url"),
            "image": text_of(document, "image"),
            "replicas": f"{wanted}, from {bounds.get('min')} to {bounds.get('max')}",
            "needs": words_of(document.get("depends_on")),
            "demand": text_of(view, "demand") or (f"unknown: {view['demand_unknown']}" if view.get("demand_unknown") else ""),
            "active": "yes" if active is True else "no" if active is False else "",
            "last active": text_of(view, "last_active"),
            "last wake": text_of(view, "last_wake"),
            "awake until": text_of(view, "awake_until"),
            "version": text_of(view, "etag"),
        }

    def details(self, view: View) -> Sequence[Sequence[str]]:
        conditions = view.get("conditions")
        names = ("type", "status", "reason", "message")
        found = [each for each in conditions if isinstance(each, dict)] if isinstance(conditions, list) else []
        rows = [tuple(text_of(each, name) for name in names) for each in found[:50]]
        return [tuple(name.upper() for name in names), *rows] if rows else []

    def logs(self, name: str, *, follow: bool, lines: int, since: float | None) -> Iterator[str]:
        query = {"tailLines": str(lines), **({"follow": "true"} if follow else {})}
        if since is not None:
            query["since"] = str(max(1, int(since)))
        return self._client.lines(f"{self._base}/{quote(name, safe='')}/logs", query)

    def interrupted(self, name: str) -> str:
        if not self._client.is_sent:
            return ""
        return f"it goes on there, and may be done: weir app show {name} --namespace {self.namespace} tells"

    def _changed(self, method: str, path: str, how: How, *, query: Json | None = None, **what: Any) -> Answer:
        query = {**(query or {}), **({"dryRun": "All"} if how.dry_run else {})}
        try:
            if how.wait and not how.dry_run:
                how.steps.tell("asking")
                return self._client.follow(
                    method,
                    self._base + path,
                    lambda event: how.steps.tell(text_of(event, "step"), text_of(event, "message") or text_of(event, "reason")),
                    patience=how.patience,
                    query=query,
                    **what,
                )
            return self._client.ask(method, self._base + path, query=query, **what)
        except NotDoneError as error:
            if error.code == INVALID:
                raise NotDoneError(*map(flag_of, error.lines), code=INVALID) from error
            raise

    def _result(self, name: str, summary: str, answer: Answer) -> Result:
        value = answer.value if isinstance(answer.value, dict) else {}
        lines = [str(value["url"])] if value.get("url") else []
        is_reached = answer.outcome in _GOOD
        warnings = () if is_reached else (f"{answer.outcome}: {answer.message}".removesuffix(": "),)
        summary = f"{self.namespace}/{name} {summary}"
        return Result(summary=summary, value=answer.value, lines=lines, is_reached=is_reached, warnings=warnings)


def _planned(answer: Answer) -> Result:
    return Result(summary="", value=object_of(answer.value).get("objects", answer.value))


def _unset(patch: dict[str, Any], path: Sequence[str]) -> None:
    at = patch
    for name in path[:-1]:
        inner = at.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UsageError(f"--unset {'.'.join(path)}: is set as well")
        at = inner
    at[path[-1]] = None
