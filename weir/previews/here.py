"""Previews of a running `weir up`, in the words of the Admin API. Its file says which there are, so they are only read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fleet.runtime.terminal import complain
from weir.apps.failure import CONFLICT, INTERRUPTED, NOT_FOUND, NotDoneError
from weir.apps.here import Here
from weir.apps.where import Where

__all__ = ["PreviewsHere", "previews_here"]


class PreviewsHere:
    """Those of every `weir up` that is meant. Every method raises NotDoneError."""

    def __init__(self, here: Here) -> None:
        self._here = here

    def every(self) -> Iterator[Mapping[str, Any]]:
        return (_preview(view) for view in self._here.apps() if view.get("preview"))

    def one(self, name: str) -> Mapping[str, Any]:
        """`name` is BASE--NAME."""
        found = [view for view in self.every() if name in (view["id"], f"{view['namespace']}/{view['id']}")]
        if not found:
            raise NotDoneError(f"there is no preview {name} in {self._here.place}", code=NOT_FOUND)
        if len(found) > 1:
            raise NotDoneError(f"{name} is a preview in several places: --of FILE and --namespace say which", code=CONFLICT)
        return found[0]


def previews_here(where: Where, act: Callable[[PreviewsHere], int]) -> int:
    """Do something with the previews of `weir up`; returns the exit code."""
    try:
        here = Here(where.of, where.namespace)
        complain(f"on {here.place}")
        return act(PreviewsHere(here))
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except NotDoneError as error:
        for line in error.lines:
            complain(line)
        return error.code


def _preview(view: Mapping[str, Any]) -> dict[str, Any]:
    state = view["state"]
    is_failing = state == "failing"
    return {
        "namespace": view["namespace"],
        "id": view["name"],
        "base": view["base"],
        "name": view["preview"],
        "state": state,
        "url": view["url"],
        "ready": "False" if is_failing else "True",
        "reason": view["reason"] if is_failing else "",
        "replicas": view["replicas"],
        "last_used": view["last_used"] or None,
        "expires_at": None,
        "seconds_left": None,
        "file": view["file"],
    }
