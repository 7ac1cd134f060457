"""Which objects of other namespaces are copies of Previews, as the status of each Preview says. A part of a term.

Only the controller writes that, once both sides permit the copy. A Preview that is being deleted grants nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.copies import Grant, Grants
from controller.preview.resource import Preview
from fleet.discovery.kubernetes.listwatch import Change, ListWatch

__all__ = ["PreviewGrants"]

_Named = tuple[tuple[str, str], Grant]


class PreviewGrants:
    """`on_change` is called when the routing table may have to change."""

    def __init__(self, previews: ListWatch[Preview], on_change: Callable[[], None]) -> None:
        self._synced = previews.synced
        self._on_change = on_change
        self._known: dict[tuple[str, str], Grant] = {}
        previews.subscribe(self._on_preview)

    @property
    def current(self) -> Grants | None:
        """None until all Previews were read."""
        return dict(self._known) if self._synced.is_set() else None

    async def run(self) -> None:
        """Run until cancelled."""
        await self._synced.wait()
        self._on_change()
        await asyncio.Event().wait()

    def _on_preview(self, change: Change[Preview]) -> None:
        before, after = _granted(change.before), _granted(change.after)
        if before == after:
            return
        if before is not None:
            self._known.pop(before[0], None)
        if after is not None:
            self._known[after[0]] = after[1]
        self._on_change()


def _granted(preview: Preview | None) -> _Named | None:
    if preview is None or preview.meta.deleting or not preview.status.placed:
        return None
    return (preview.status.placed, preview.meta.uid), Grant(preview.base.app, preview.name)
