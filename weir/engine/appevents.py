"""What events say of an app on this machine: when it wakes, is ready, fails and sleeps. Suggestions hear of the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fleet.events.events import Events
from fleet.events.lifecycle import Lifecycle
from weir.engine.replica import Replica
from weir.engine.suggestions import LocalSuggestions
from weir.engine.supervisor import State

__all__ = ["AppEvents"]


class AppEvents:
    """Of one app."""

    def __init__(self, key: str, events: Events, suggestions: LocalSuggestions) -> None:
        self._key, self._events, self._suggestions = key, events, suggestions
        self._lifecycle = Lifecycle()
        self._clock = asyncio.get_running_loop().time

    def see(self, replicas: Sequence[Replica], desired: int, problem: str = "", *, asked: bool = False) -> None:
        """Look at its replicas, including those that are ending, and at how many there should be. `problem` is why none is
        started; `asked`: by requests."""
        now = self._clock()
        living = [replica for replica in replicas if replica.state is not State.DRAINING]
        ready = any(replica.state is State.READY for replica in living)
        failure = next((replica.reason for replica in living if replica.state is State.FAILED), problem) if not ready else ""
        seen = self._lifecycle.see(now, active=desired > 0, ready=ready, present=bool(replicas), failure=failure)
        for kind, data in seen:
            self._events.publish(kind, self._key, data)
            self._suggestions.heard(kind, self._key, now, asked=asked)
