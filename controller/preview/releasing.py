"""Where no copies are made (any more): lets Previews go that are deleted, and whose hooks after nobody runs. Otherwise they, and
their namespaces, could not be deleted. A part of a term, in place of the desk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import msgspec

from controller.crds import PREVIEWS
from controller.events import EventRecorder, Notice
from controller.preview.ending import release
from controller.preview.resource import parse_preview
from controller.resources import Key
from controller.world import path_of
from fleet.discovery.kubernetes.client import Api, ApiError
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["Releaser"]

ROUND_SECONDS = 60.0
"""Seconds between lists: nothing waits for it but deletions."""
PAGE_OBJECTS = "500"
_NOT_RUN = "AfterHooksNotRun"
_UNKNOWN = (403, 404)
"""The kind is not installed, or the role is of an earlier version."""

_log = logging.getLogger(__name__)


class _Meta(msgspec.Struct):
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = ()
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class Releaser:
    """Create one for a term, within a running loop. `leads` says whether this process may still write."""

    def __init__(
        self, api: Api, namespaces: Collection[str], recorder: EventRecorder, *, leads: Callable[[], bool] = lambda: True
    ) -> None:
        self._api = api
        self._paths = [path_of(PREVIEWS).path(namespace) for namespace in namespaces or ("",)]
        self._recorder = recorder
        self._leads = leads
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
            for path in self._paths:
                try:
                    await self._release_all(path)
                except (ApiError, ValueError) as error:
                    known = isinstance(error, ApiError) and error.status in _UNKNOWN
                    _log.log(logging.DEBUG if known else logging.WARNING, "previews that are deleted: %s", error)
            await asyncio.sleep(ROUND_SECONDS)

    async def _release_all(self, path: str) -> None:
        """Raises ApiError and ValueError."""
        token = ""
        while True:
            query = [("limit", PAGE_OBJECTS), *([("continue", token)] if token else [])]
            page = msgspec.json.decode(await self._api.get(path, query), type=_Page)
            for each in page.items:
                preview = parse_preview(each)
                if not (preview.is_held and preview.meta.deleting and self._leads()):
                    continue
                if preview.after:
                    why = "no previews are made here any more (WEIR_PREVIEWS): its hooks after did not run"
                    self._recorder.tell(preview, Notice(_NOT_RUN, why, warning=True))
                await release(self._api, preview)
            if not (token := page.metadata.continue_):
                return
