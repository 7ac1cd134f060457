"""Where no copies are made (any more): lets Previews go that are deleted, and whose hooks after nobody runs. Otherwise they, and
their namespaces, could not be deleted. Those whose copy in another namespace nobody deletes are kept, and told, because that
would be there for ever. A part of a term, in place of the desk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from controller.crds import PREVIEWS
from controller.events import EventRecorder, Notice
from controller.preview.elsewhere import FINALIZER as HELD_ELSEWHERE
from controller.preview.ending import release
from controller.preview.objects import listed
from controller.preview.resource import Preview, parse_preview
from controller.resources import Key
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Releaser"]

ROUND_SECONDS = 60.0
"""Seconds between lists: nothing waits for it but deletions."""
PAGE_OBJECTS = "500"
_NOT_RUN, _NOT_DELETED = "AfterHooksNotRun", "CopyNotDeleted"
_UNKNOWN = (403, 404)
"""The kind is not installed, or the role is of an earlier version."""

_log = logging.getLogger(__name__)


class Releaser:
    """Create one for a term, within a running loop. `leads` says whether this process may still write."""

    def __init__(
        self, api: Api, namespaces: Collection[str], recorder: EventRecorder, *, leads: Callable[[], bool] = lambda: True
    ) -> None:
        self._api = api
        self._paths = [path_of(PREVIEWS).path(namespace) for namespace in namespaces or ("",)]
        self._recorder = recorder
        self._leads = leads
        self._kept: set[str] = set()
        """The uids of those that are kept, and whose Event was written."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="previews:release")

    async def close(self) -> None:
        task, self._task = self._task, None
        await cancel_and_wait(task)

    def look(self, key: Key) -> None:
        """Objects of other kinds do not concern it."""

    async def _run(self) -> None:
        while True:
            kept: set[str] = set()
            for path in self._paths:
                try:
                    async for each in listed(self._api, path, PAGE_OBJECTS):
                        await self._look(parse_preview(each), kept)
                except (ApiError, ValueError) as error:
                    _complain("previews that are deleted", error)
            self._kept = kept
            await asyncio.sleep(ROUND_SECONDS)

    async def _look(self, preview: Preview, kept: set[str]) -> None:
        """What is wrong with one, such as changes without end, is its own trouble."""
        if not preview.meta.deleting or not self._leads():
            return
        if HELD_ELSEWHERE in (preview.meta.finalizers or ()):
            kept.add(preview.meta.uid)
            if preview.meta.uid not in self._kept:
                why = f"no previews are made here any more (WEIR_PREVIEWS): its copy in namespace {preview.place} is not deleted"
                why += f", and holds it by the finalizer {HELD_ELSEWHERE}"
                self._recorder.tell(preview, Notice(_NOT_DELETED, why, warning=True))
        if not preview.is_held:
            return
        if preview.after:
            why = "no previews are made here any more (WEIR_PREVIEWS): its hooks after did not run"
            self._recorder.tell(preview, Notice(_NOT_RUN, why, warning=True))
        try:
            await release(self._api, preview)
        except ApiError as error:
            _complain(str(preview.key), error)


def _complain(what: str, error: Exception) -> None:
    known = isinstance(error, ApiError) and error.status in _UNKNOWN
    _log.log(logging.DEBUG if known else logging.WARNING, "%s: %s", what, error)
