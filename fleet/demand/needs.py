"""Which applications are active because others that depend on them have demand. Pure: the time comes in as an argument.

Only an application's own demand spreads, along all chains at once; being kept awake does not count as demand. So a dependency
sleeps when the last application behind it does, and a circle could not keep itself awake. What is marked is a memory of these
walks: it grows when an application wakes, and is made anew when what it says is no longer so. Both are linear in the number of
dependencies.

No application needs one of another namespace, so each namespace is walked alone, and its wakes are bounded: one tenant's cannot
delay another's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from fleet.demand.app import NEVER, AppState

__all__ = ["Need", "Needs"]

REMAKE_SECONDS: Final = 0.25
"""Least time between two walks over all dependencies. For so long an application may stay active behind one that is no longer."""
WALKS: Final = 4
"""How many times as many dependencies as a namespace has its wakes may walk over in this time. Applications that wake and sleep
all the time wake others beyond that only at its end."""
LEAST_STEPS: Final = 1000
"""The same for a namespace that has few."""


class Need(NamedTuple):
    """An application that wakes with another one."""

    app: str
    keep: bool = True
    """Whether it is active for as long as the other one is; otherwise while requests of the other one are held."""


class Needs:
    """`apps` are the states of the applications that have ever had demand. `tell` is called with each that wakes."""

    def __init__(self, apps: Mapping[str, AppState], tell: Callable[[str], None]) -> None:
        self._apps = apps
        self._tell = tell
        self._groups: dict[str, _Group] = {}
        """By namespace."""

    @property
    def marked(self) -> Iterator[str]:
        """The applications that may be active for others."""
        return (app for group in self._groups.values() for app in group.marked)

    def configure(self, needs: Mapping[str, Sequence[Need]], now: float) -> None:
        """Set what each application needs. What is new to one that has demand wakes now."""
        before = {*self.marked}
        split: dict[str, dict[str, Sequence[Need]]] = {}
        for app, named in needs.items():
            split.setdefault(app.partition("/")[0], {})[app] = named
        self._groups = {namespace: _Group(self._apps, own, self._tell) for namespace, own in split.items()}
        for group in self._groups.values():
            group.make(now)
        for app in [app for app in self.marked if app not in before]:
            self._tell(app)

    def woken(self, app: str, now: float) -> None:
        """The application became active, or its first request is held: it is told, and what wakes with it, each once."""
        self._tell(app)
        if (group := self._group(app)) is not None:
            group.woken(app, now)

    def awake_for(self, app: str, now: float) -> str:
        """The application for whose demand this one is active; "" if there is none."""
        group = self._group(app)
        return "" if group is None else group.awake_for(app, now)

    def holds(self, app: str, now: float) -> bool:
        """Whether requests are held of an application that needs this one."""
        group = self._group(app)
        return group is not None and group.holds(app, now)

    def _group(self, app: str) -> _Group | None:
        return self._groups.get(app.partition("/")[0]) if self._groups else None


class _Group:
    """The applications of one namespace."""

    def __init__(self, apps: Mapping[str, AppState], needs: Mapping[str, Sequence[Need]], tell: Callable[[str], None]) -> None:
        self._apps = apps
        self._needs = needs
        self._tell = tell
        self._waking: dict[str, str] = {}
        """What one with held requests needs, and that one."""
        self._kept: dict[str, str] = {}
        """What an active one needs for as long as it is, and that one."""
        self._made = NEVER
        self._most_steps = max(WALKS * sum(map(len, needs.values())), LEAST_STEPS)
        self._steps, self._since = 0, NEVER
        """Dependencies that wakes have walked over since then."""
        self._late: dict[str, None] = {}
        """Applications whose wakes have to wait for more steps."""

    @property
    def marked(self) -> Iterator[str]:
        return iter(self._waking | self._kept)

    def woken(self, app: str, now: float) -> None:
        if app not in self._needs:
            return
        if now - self._since >= REMAKE_SECONDS:
            self._steps, self._since = 0, now
        if self._steps > self._most_steps:
            self._late[app] = None
            return
        for other in self._wake(app, now):
            self._tell(other)

    def awake_for(self, app: str, now: float) -> str:
        self._catch_up(now)
        if app not in self._waking and app not in self._kept:
            return ""
        if not (found := self._found(app, now)) and self._is_made(now):
            return self._found(app, now)
        return found or self._kept.get(app) or self._waking[app]

    def holds(self, app: str, now: float) -> bool:
        self._catch_up(now)
        by = self._waking.get(app)
        if by is None or self._holds(by):
            return by is not None
        return not self._is_made(now) or app in self._waking

    def _catch_up(self, now: float) -> None:
        if self._late and now - self._since >= REMAKE_SECONDS:
            late, self._late = self._late, {}
            for app in late:
                self.woken(app, now)

    def _found(self, app: str, now: float) -> str:
        waking, kept = self._waking.get(app, ""), self._kept.get(app, "")
        if waking and self._holds(waking):
            return waking
        return kept if kept and self._is_active(kept, now) else ""

    def _wake(self, app: str, now: float) -> Sequence[str]:
        """Mark what wakes with it; returns what no other one keeps awake already."""
        state = self._apps.get(app)
        if state is None:
            return ()
        found: dict[str, None] = {}
        if state.held:
            found.update(dict.fromkeys(self._spread(app, self._waking, now, waking=True)))
        if state.active(now):
            found.update(dict.fromkeys(self._spread(app, self._kept, now, waking=False)))
        return [*found]

    def _is_made(self, now: float) -> bool:
        """Make all marks anew, unless they just were."""
        if now - self._made < REMAKE_SECONDS:
            return False
        before = self._waking | self._kept if self._late else None
        self.make(now)
        if before is not None:
            for app in [app for app in self.marked if app not in before]:
                self._tell(app)
        return True

    def make(self, now: float) -> None:
        """All marks anew."""
        self._made = now
        self._waking, self._kept = {}, {}
        for app in self._needs:
            if self._is_active(app, now):
                self._wake(app, now)

    def _spread(self, root: str, marks: dict[str, str], now: float, *, waking: bool) -> Iterator[str]:
        """Mark what the root needs, as far as no other one has it marked that still holds or is active. What the root itself
        had marked may have been inactive since, and is given again."""
        open_, seen = [root], {root}
        while open_:
            for need in self._needs.get(open_.pop(), ()):
                self._steps += 1
                if need.app in seen or not (waking or need.keep):
                    continue
                by = marks.get(need.app, root)
                if by != root and (self._holds(by) if waking else self._is_active(by, now)):
                    continue
                seen.add(need.app)
                marks[need.app] = root
                open_.append(need.app)
                yield need.app

    def _holds(self, app: str) -> bool:
        state = self._apps.get(app)
        return state is not None and state.held > 0

    def _is_active(self, app: str, now: float) -> bool:
        state = self._apps.get(app)
        return state is not None and state.active(now)
