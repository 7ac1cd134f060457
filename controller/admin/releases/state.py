"""What became of an operation on a release, and the way back from it: from helm's history before and now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from controller.admin.authentication import Caller
from controller.admin.journal import Record

__all__ = ["DEPLOYED", "OPERATION", "Before", "Operation", "State", "WayBack", "before_of", "operation_of", "way_back"]

OPERATION = "operation"
"""Under which an entry of the journal has what is needed to undo an operation on a release."""
DEPLOYED, UNINSTALLED, UNINSTALLING = "deployed", "uninstalled", "uninstalling"

Operation = Literal["apply", "rollback", "delete"]


class State(msgspec.Struct, frozen=True):
    """A revision, as far as it matters here."""

    revision: int
    status: str

    @property
    def is_pending(self) -> bool:
        return self.status.startswith("pending-")


class Before(msgspec.Struct, frozen=True):
    """What there was before an operation."""

    action: Operation
    last: int
    """The newest revision; 0 for none."""
    good: int
    """The one that was deployed, which is what to go back to; 0 for none."""
    caller: Caller
    """Undoing is done with this user's rights, as the operation was."""

    def packed(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return {OPERATION: msgspec.to_builtins(self)}


class WayBack(msgspec.Struct, frozen=True):
    """What helm has to do; nothing when the operation is complete, or has never begun."""

    command: Literal["", "rollback", "uninstall"] = ""
    revision: int = 0


def before_of(action: Operation, history: Sequence[State], caller: Caller) -> Before:
    good = next((one.revision for one in reversed(history) if one.status == DEPLOYED), 0)
    return Before(action, history[-1].revision if history else 0, good, caller)


def operation_of(record: Record) -> Before | None:
    """What an entry says; None if it is none of a release."""
    try:
        return msgspec.convert(record.before.get(OPERATION), Before)
    except msgspec.ValidationError:
        return None


def way_back(before: Before, history: Sequence[State]) -> WayBack:
    """From the history as it is now, the oldest first."""
    last = history[-1] if history else None
    if last is None:
        return WayBack()
    if before.action == "delete":
        # What has begun to be deleted cannot be brought back: it goes on.
        return WayBack("uninstall") if last.status == UNINSTALLING else WayBack()
    if last.revision <= before.last or last.status == DEPLOYED:
        return WayBack()
    if not before.last:
        return WayBack("uninstall")
    return WayBack("rollback", before.good or before.last)
