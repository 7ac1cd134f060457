"""Which applications seem to call each other: those that wake one after the other, again and again. Pure: the time comes in as
an argument.

Nobody says which application sent a request, so what is looked at are wakes. A wake of `web` is open from its first moment until
shortly after `web` is ready, when it has called what it needs for its first request. What was asleep and wakes meanwhile has
followed it; while something open is ready, it has not followed what is still starting. A suggestion needs both sides: nearly
every wake of `web` is followed by one of `api`, and most wakes of `api` follow one of `web`; otherwise declaring it would wake
`api` for nothing, or hardly save a wait.

What is declared already explains a wake, and says nothing more. Nothing crosses namespaces, each of which is bounded alone:
32 wakes of an application, 8 others on either side of it, 2000 pairs, and 8 open wakes that another one may have followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Final, Protocol

from fleet.demand.app import NEVER
from fleet.demand.pair import LEAST_WAKES, POOR_SHARE, Pair
from fleet.demand.suggestion import Suggestion

__all__ = ["MAX_OPEN", "MAX_PAIRS", "MAX_PAIRS_OF_APP", "Companions", "Declarations"]

AFTER_SECONDS: Final = 2.0
"""How long after an application is ready others that wake have followed it: the time of its first request, and not much more."""
TOGETHER_SECONDS: Final = 0.05
"""Wakes that are no further apart have no order that means anything: one page has called both, or one event."""
LONGEST_SECONDS: Final = 600.0
"""After so many seconds without being ready, a wake is no longer waited for."""
MAX_PAIRS_OF_APP: Final = 8
MAX_PAIRS: Final = 2000
"""Of one namespace."""
MAX_OPEN: Final = 2000
"""Open wakes of one namespace. Further ones do not count."""
_LATEST: Final = 8
"""Open wakes that another one may have followed, the latest first. Where many wake at once, that says little of any."""


class Declarations(Protocol):
    """What is declared now."""

    def wakes(self, app: str, other: str) -> bool:
        """Whether the application wakes the other one, directly or not."""

    def may_need(self, app: str, other: str) -> bool:
        """Whether the application could declare the other one, and does not."""


class Companions:
    """Hears of wakes, in the order of their times. `on_change` is called with each application whose suggestions may be others
    than before. `late` is how many seconds after it happened a wake may be heard of."""

    def __init__(self, declared: Declarations, on_change: Callable[[str], None], *, late: float = 0.0) -> None:
        self._declared = declared
        self._on_change = on_change
        self._late = late
        self._groups: dict[str, _Group] = {}
        """By namespace."""

    def woke(self, app: str, now: float, *, at: float | None = None, asked: bool = True) -> None:
        """It was asleep, and wakes. `at` is when it began, if that is known; `asked` is false if it did so without a request, for
        example because of a schedule, which says nothing of others."""
        group = self._groups.setdefault(_namespace(app), _Group(self._declared, self._on_change, self._late))
        group.woke(app, now, now if at is None else at, asked=asked)

    def ready(self, app: str, now: float) -> None:
        if (group := self._groups.get(_namespace(app))) is not None:
            group.ready(app, now)

    def slept(self, app: str, now: float) -> None:
        if (group := self._groups.get(_namespace(app))) is not None:
            group.slept(app, now)

    def forget(self, app: str) -> None:
        """It does not exist any more."""
        namespace = _namespace(app)
        if (group := self._groups.get(namespace)) is not None:
            group.forget(app)
            if not group.apps:
                del self._groups[namespace]

    def suggestions(self, app: str) -> tuple[Suggestion, ...]:
        """What the application could declare, the surest first."""
        group = self._groups.get(_namespace(app))
        return () if group is None else tuple(group.suggestions(app))

    def suggesting(self) -> Iterator[str]:
        """The applications about which there may be suggestions."""
        return (app for group in self._groups.values() for app in group.suggesting())

    def knows(self, app: str) -> bool:
        """Whether enough of its wakes were seen to say something of it."""
        group = self._groups.get(_namespace(app))
        return group is not None and app in group.apps and group.apps[app].counted >= LEAST_WAKES


def _namespace(app: str) -> str:
    return app.partition("/")[0]


class _Wake:
    """One that is open."""

    __slots__ = ("app", "at", "followed", "is_explained", "ready", "roots", "until")

    def __init__(self, app: str, at: float) -> None:
        self.app, self.at, self.until = app, at, at + LONGEST_SECONDS
        self.ready: float | None = None
        self.followed: dict[str, bool | None] = {}
        """What woke meanwhile, and whether at the same moment; None if something that is declared woke it."""
        self.roots: dict[str, _Wake] = {}
        """The open wakes that it has followed."""
        self.is_explained = False


class _App:
    __slots__ = ("counted", "is_awake", "roots", "slept", "targets", "wake")

    def __init__(self) -> None:
        self.is_awake, self.slept = False, NEVER
        self.counted = 0
        self.wake: _Wake | None = None
        self.targets: dict[str, Pair] = {}
        """What has followed it."""
        self.roots: dict[str, Pair] = {}
        """What it has followed."""


class _Group:
    """The applications of one namespace."""

    def __init__(self, declared: Declarations, on_change: Callable[[str], None], late: float) -> None:
        self._declared = declared
        self._on_change = on_change
        self._late, self._after, self._together = late, AFTER_SECONDS + late, TOGETHER_SECONDS + late
        self.apps: dict[str, _App] = {}
        """Those that have ever woken."""
        self._waking: dict[str, _Wake] = {}
        """Open wakes of those that are not ready yet, and of those that are; in the order in which they became so."""
        self._ready: dict[str, _Wake] = {}
        self._pairs: dict[tuple[str, str], None] = {}
        """All of them; the one that was not followed for longest comes first."""

    # What is heard.

    def woke(self, app: str, now: float, at: float, *, asked: bool) -> None:
        self._expire(now)
        state = self.apps.setdefault(app, _App())
        if state.wake is not None:
            self._close(state.wake)
        state.is_awake, at = True, max(at, state.slept)
        if not asked or len(self._waking) + len(self._ready) >= MAX_OPEN:
            return
        latest = islice(chain(reversed(self._ready.values()), reversed(self._waking.values())), _LATEST)
        earlier = [one for one in latest if at - one.at >= -self._together]
        state.wake = self._waking[app] = wake = _Wake(app, at)
        wake.is_explained = any(self._declared.wakes(one.app, app) for one in earlier)
        # What is ready has called it, rather than what is still starting.
        callers = [one for one in earlier if self._was_ready(one, at)] or earlier
        for one in earlier:
            if wake.is_explained or one not in callers:
                self._follow(one, app, None)
            else:
                self._relate(one, wake)
            if self._at_once(one, wake) and not one.is_explained and self._declared.wakes(app, one.app):
                self._explain(one)
                self._follow(wake, one.app, None)

    def ready(self, app: str, now: float) -> None:
        self._expire(now)
        if (wake := self._waking.pop(app, None)) is not None:
            wake.ready, wake.until = now, now + self._after
            self._ready[app] = wake

    def slept(self, app: str, now: float) -> None:
        self._expire(now)
        if (state := self.apps.get(app)) is not None:
            state.is_awake, state.slept = False, now
            if state.wake is not None:
                self._close(state.wake)

    def forget(self, app: str) -> None:
        state = self.apps.get(app)
        if state is None:
            return
        self._waking.pop(app, None)
        self._ready.pop(app, None)
        changed: dict[str, None] = {}
        for root in [*state.roots]:
            self._make_room(root, app, changed)
        for target in [*state.targets]:
            self._drop(app, target)
        del self.apps[app]
        for root in changed:
            self._on_change(root)

    # Which wakes belong together.

    def _was_ready(self, earlier: _Wake, at: float) -> bool:
        return earlier.ready is not None and earlier.ready <= at + self._late

    def _at_once(self, earlier: _Wake, wake: _Wake) -> bool:
        return abs(wake.at - earlier.at) <= self._together and not self._was_ready(earlier, wake.at)

    def _relate(self, earlier: _Wake, wake: _Wake) -> None:
        together = self._at_once(earlier, wake)
        if self._follow(earlier, wake.app, together):
            wake.roots[earlier.app] = earlier
        if together and self._follow(wake, earlier.app, together):
            earlier.roots[wake.app] = wake

    def _follow(self, root: _Wake, app: str, how: bool | None) -> bool:
        """Note that the application woke meanwhile; False if there is no room for that."""
        is_known = app in root.followed or app in self.apps[root.app].targets
        if is_known or len(root.followed) < 2 * MAX_PAIRS_OF_APP:
            root.followed[app] = how
            return True
        return False

    @staticmethod
    def _explain(wake: _Wake) -> None:
        """What is declared has woken it, which is only heard of now."""
        wake.is_explained = True
        for root in wake.roots.values():
            if wake.app in root.followed:
                root.followed[wake.app] = None
        wake.roots.clear()

    # What comes of them.

    def _expire(self, now: float) -> None:
        for wakes in (self._ready, self._waking):
            while (wake := next(iter(wakes.values()), None)) is not None and now >= wake.until:
                self._close(wake)

    def _close(self, wake: _Wake) -> None:
        app, state = wake.app, self.apps[wake.app]
        state.wake = None
        self._waking.pop(app, None)
        self._ready.pop(app, None)
        changed: dict[str, None] = {}
        if not wake.is_explained:
            for root, pair in state.roots.items():
                pair.following.add(root in wake.roots)
                if pair.judge():
                    changed[root] = None
        if wake.ready is not None:
            self._count(wake, state, changed)
        wake.roots.clear()
        for root in changed:
            self._on_change(root)

    def _count(self, wake: _Wake, state: _App, changed: dict[str, None]) -> None:
        """Those that followed the wake, and those that did not."""
        app = wake.app
        state.counted += 1
        if state.counted == LEAST_WAKES:
            changed[app] = None
        for target, how in wake.followed.items():
            if how is not None and (pair := self._pair(app, target, changed)) is not None:
                pair.wakes.add(True)
                pair.beside.add(how)
                if pair.judge():
                    changed[app] = None
        for target, pair in state.targets.items():
            other = self.apps[target]
            if target not in wake.followed and not other.is_awake and other.slept <= wake.at:
                pair.wakes.add(False)
                if pair.judge():
                    changed[app] = None

    # The pairs.

    def _pair(self, root: str, target: str, changed: dict[str, None]) -> Pair | None:
        """The pair, which is made if there is room for it; None if there is none, or the target is forgotten."""
        first, other = self.apps[root], self.apps.get(target)
        if other is None:
            return None
        pair = first.targets.get(target)
        if pair is not None:
            del self._pairs[root, target]
            self._pairs[root, target] = None
            return pair
        worst = _worst(first.targets, lambda pair: pair.wakes.share), _worst(other.roots, lambda pair: pair.following.share)
        if "" in worst:
            return None
        if worst[0] is not None:
            self._make_room(root, worst[0], changed)
        if worst[1] is not None:
            self._make_room(worst[1], target, changed)
        if len(self._pairs) >= MAX_PAIRS:
            self._make_room(*next(iter(self._pairs)), changed)
        pair = first.targets[target] = other.roots[root] = Pair()
        self._pairs[root, target] = None
        return pair

    def _make_room(self, root: str, target: str, changed: dict[str, None]) -> None:
        if self._drop(root, target).is_suggested:
            changed[root] = None

    def _drop(self, root: str, target: str) -> Pair:
        del self._pairs[root, target]
        first, other = self.apps[root], self.apps[target]
        del other.roots[root]
        return first.targets.pop(target)

    # What is suggested.

    def suggesting(self) -> Iterator[str]:
        return (app for app, state in self.apps.items() if any(pair.is_suggested for pair in state.targets.values()))

    def suggestions(self, app: str) -> Iterator[Suggestion]:
        targets = self.apps[app].targets if app in self.apps else {}
        found = {target: pair for target, pair in targets.items() if pair.is_suggested and self._declared.may_need(app, target)}
        kept = (
            Suggestion(target, *pair.shown)
            for target, pair in found.items()
            if pair.shown and not self._is_led_to(app, target, found)
        )
        return iter(sorted(kept, key=lambda one: (one.together, -one.percent, one.app)))

    def _is_led_to(self, app: str, target: str, found: Mapping[str, Pair]) -> bool:
        """Whether it wakes with the application already if that declares the rest: another one of them, or one that is declared,
        needs it."""
        after = [middle for middle, pair in found.items() if middle != target and not pair.together]
        if any(self._declared.wakes(middle, target) for middle in after):
            return True
        roots = (middle for middle, pair in self.apps[target].roots.items() if pair.is_suggested and not pair.together)
        return any(middle in after or self._declared.wakes(app, middle) for middle in roots if middle != app)


def _worst(pairs: Mapping[str, Pair], share: Callable[[Pair], float]) -> str | None:
    """None while there is room for another pair; else the one that makes room, "" if none does."""
    if len(pairs) < MAX_PAIRS_OF_APP:
        return None
    name, pair = min(pairs.items(), key=lambda item: share(item[1]))
    return name if share(pair) < POOR_SHARE else ""
