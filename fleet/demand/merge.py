"""The demand of the fleet: the counts of all members, summed per application. Pure: messages and the time come in as arguments.

A missing message is not zero: a silent member keeps its last counts until discovery drops it or `expire` ends them. Totals are
compared with the last known ones of the same incarnation and generation, so messages may be lost, repeated, late or reordered;
and growth is placed in the time when it happened, so that a mean is never above the real demand.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from fleet import defaults
from fleet.demand.app import DEFAULT_POLICY, NEVER, AppDemand, AppPolicy, AppState, Leased
from fleet.demand.ledger import QueueSize
from fleet.demand.needs import Needs
from fleet.demand.timeline import MessageTime, Timeline

__all__ = ["AppDemand", "AppPolicy", "FleetDemand", "MemberState", "Metric"]


class Metric(enum.Enum):
    """What a replica's load is measured by."""

    CONCURRENCY = "concurrency"
    RATE = "rate"


class MemberState(msgspec.Struct, frozen=True):
    """How recent the data of a member is."""

    member: str
    incarnation: str
    connected: bool
    heard_ago: float | None
    """Seconds since its last message; None when there was none."""
    apps: int


class _Record:
    """The last sizes of an application from one member, and when, by our clock and by the member's."""

    __slots__ = ("age", "at", "size")

    def __init__(self, size: QueueSize, times: MessageTime) -> None:
        self.size = size
        self.at = times.at
        self.age = times.age


class _Member:
    __slots__ = ("connected", "heard_at", "incarnation", "joined_at", "records", "timeline", "tried")

    def __init__(self, now: float) -> None:
        self.joined_at = now
        self.incarnation = ""
        self.connected = False
        self.tried = False
        self.heard_at = NEVER
        self.records: dict[str, _Record] = {}
        self.timeline = Timeline(now)


class FleetDemand:
    """The merged demand of every member.

    `on_wake(app)` is called when an inactive application becomes active, and when its first request is held; and in the same turn
    for those that it depends on. Members are named by discovery. Times are seconds of one monotonic clock.
    """

    def __init__(
        self,
        *,
        on_wake: Callable[[str], None] | None = None,
        concurrency_window: float = defaults.CONCURRENCY_WINDOW,
        fresh_for: float = defaults.NEWS_TIMEOUT,
        grace: float = defaults.STARTUP_GRACE,
    ) -> None:
        """fresh_for: seconds after its last message for which a member counts as reachable. grace: seconds to wait for members
        that have sent nothing yet, before answers are computed without them."""
        self.on_wake = on_wake
        self._concurrency_window = concurrency_window
        self._fresh_for = fresh_for
        self._grace = grace
        self._members: dict[str, _Member] = {}
        self._apps: dict[str, AppState] = {}
        self._policies: dict[str, AppPolicy] = {}
        self._watching_since: float | None = None
        self._progress = NEVER
        self._settled = False
        self.needs = Needs(self._apps, lambda app: self.on_wake(app) if self.on_wake is not None else None)
        """Which applications wake which others."""
        self.leased = Leased(self._apps, self._app, self.needs.woken)

    # What is known of routes and members.

    def configure(self, policies: Mapping[str, AppPolicy]) -> None:
        """Set the existing applications and their policies. History survives a change of the window."""
        self._policies = dict(policies)
        for app, state in self._apps.items():
            state.configure(self._policies.get(app, DEFAULT_POLICY))
        known = {app for member in self._members.values() for app in member.records}
        for app in [app for app in self._apps if app not in self._policies and app not in known]:
            del self._apps[app]

    def member_joined(self, member: str, now: float) -> None:
        """Discovery found a member, which has not sent anything yet."""
        self._members.setdefault(member, _Member(now))

    def snapshot(
        self, member: str, incarnation: str, sizes: Iterable[QueueSize], now: float, *, age: float | None = None
    ) -> bool:
        """The first message of a stream: all applications with demand; those not listed have none. `age` is the age of the
        incarnation by its own clock when the sizes were measured; None when its clock is ours and they were measured now.

        For a member seen for the first time, counting begins at its totals; after a restart, its totals count in full. If the
        process is younger than an application's activity period, its requests make that application active: they may have been
        answered before any scaler was connected, for example with a placeholder. Returns False, and records nothing, when another
        connected member has this incarnation: one process behind two addresses counts once.
        """
        if self._is_double(member, incarnation):
            return False
        state = self._member(member, now)
        first = not state.incarnation
        times = self._hear(state, incarnation, now, age)
        received = list(sizes)
        named = {size.app for size in received}
        for app in [app for app in state.records if app not in named]:
            self._note(state, QueueSize(app, generation=state.records[app].size.generation), times)
        for size in received:
            if first:
                # The totals may be old, so only their later growth counts; gauges count at once.
                state.records[size.app] = _Record(size.idle(), times)
            young = first and age is not None and age < self._app(size.app).policy.activity_period
            self._note(state, size, times, recent=young and size.requests_total > 0)
        if self._watching_since is None:
            self._watching_since = now
        return True

    def update(
        self,
        member: str,
        incarnation: str,
        sizes: Iterable[QueueSize],
        now: float,
        *,
        age: float | None = None,
        partial: bool = False,
    ) -> None:
        """The changes since the last full message, or a partial message with some of them. An application not seen before had
        no requests until then. A message without sizes only shows that the member is alive."""
        state = self._member(member, now)
        times = self._hear(state, incarnation, now, age, partial=partial)
        for size in sizes:
            self._note(state, size, times)

    def broken(self, member: str, now: float) -> None:
        """The stream of a member ended or could not be opened. Its last counts are kept."""
        state = self._member(member, now)
        state.connected, state.tried = False, True

    def member_left(self, member: str, now: float) -> None:
        """The member is gone; its gauges no longer count."""
        state = self._members.pop(member, None)
        if state is not None:
            self._drop(state, now)

    def expire(self, now: float, ttl: float) -> list[str]:
        """Drop the counts of members silent for ttl seconds; returns the names of those that had counts. Their totals stay
        known, so that a member that returns continues from there."""
        expired = []
        for name, state in self._members.items():
            if now - state.heard_at > ttl and any(record.size.has_demand for record in state.records.values()):
                expired.append(name)
                for record in state.records.values():
                    idle = record.size.idle()
                    self._gauge(self._app(idle.app), record.size, idle, now)
                    record.size = idle
        return expired

    # Queries.

    def reachable(self, now: float) -> bool:
        """Whether any member has sent something recently."""
        return any(now - state.heard_at <= self._fresh_for for state in self._members.values())

    def settled(self, now: float) -> bool:
        """Whether every member found at the start has been heard, or could not be reached; before that, a sum is incomplete."""
        if not self._settled and self._members:
            first = min(state.joined_at for state in self._members.values())
            pending = any(not state.tried for state in self._members.values())
            # A large fleet's first messages take a while to process; the grace period runs from the last progress.
            self._settled = not pending or now - max(first, self._progress) >= self._grace
        return self._settled

    def value(self, app: str, metric: Metric, now: float) -> float:
        """Concurrent requests (the larger of the current level and its mean), or requests per second (the mean)."""
        state = self._apps.get(app)
        if state is None:
            return 0.0
        since = NEVER if self._watching_since is None else self._watching_since
        if metric is Metric.RATE:
            return state.rate.mean(now, since)
        return max(float(state.level), state.concurrency.mean(now, since))

    def active(self, app: str, now: float) -> bool:
        """Whether it has demand, or had some within its activity period; or one that depends on it has."""
        state = self._apps.get(app)
        return (state is not None and state.active(now)) or bool(self.needs.awake_for(app, now))

    def held(self, app: str) -> int:
        state = self._apps.get(app)
        return 0 if state is None else state.held

    def level(self, app: str) -> int:
        """Held, in flight and busy, now."""
        state = self._apps.get(app)
        return 0 if state is None else state.level

    def total(self, now: float) -> float:
        """The concurrency of all applications together. Those idle for longer than the window, usually most, are at zero."""
        recent = now - 2 * self._concurrency_window
        busy = (app for app, state in self._apps.items() if state.level or state.last_demand > recent)
        return sum(self.value(app, Metric.CONCURRENCY, now) for app in busy)

    def any_active(self, now: float) -> bool:
        return any(state.active(now) for state in self._apps.values())

    def any_held(self) -> bool:
        return any(state.held for state in self._apps.values())

    def names(self) -> list[str]:
        """The applications that have ever had demand, or are active for one that has."""
        return [*self._apps, *(app for app in self.needs.marked if app not in self._apps)]

    def app(self, app: str, now: float) -> AppDemand | None:
        """None for an application that has never had demand, and is not active for one that has."""
        awake_for = self.needs.awake_for(app, now)
        if (state := self._apps.get(app)) is None:
            return AppDemand(app, True, 0, 0, 0, 0.0, 0.0, awake_for=awake_for) if awake_for else None
        concurrency, rate = self.value(app, Metric.CONCURRENCY, now), self.value(app, Metric.RATE, now)
        now_there = state.held, state.in_flight, state.connections
        active = state.active(now) or bool(awake_for)
        return AppDemand(app, active, *now_there, concurrency, rate, state.at_work, awake_for)

    def apps(self, now: float) -> Iterator[AppDemand]:
        return (app for name in self.names() if (app := self.app(name, now)) is not None)

    def members(self, now: float) -> Iterator[MemberState]:
        for name, state in self._members.items():
            ago = None if state.heard_at == NEVER else now - state.heard_at
            yield MemberState(name, state.incarnation, state.connected, ago, len(state.records))

    # How messages become sums.

    def _member(self, name: str, now: float) -> _Member:
        state = self._members.get(name)
        if state is None:
            state = self._members[name] = _Member(now)
        return state

    def _app(self, name: str) -> AppState:
        state = self._apps.get(name)
        if state is None:
            state = self._apps[name] = AppState(self._policies.get(name, DEFAULT_POLICY), self._concurrency_window)
        return state

    def _is_double(self, member: str, incarnation: str) -> bool:
        return any(
            state.incarnation == incarnation and state.connected and name != member for name, state in self._members.items()
        )

    def _hear(self, state: _Member, incarnation: str, now: float, age: float | None, *, partial: bool = False) -> MessageTime:
        """Note that the member is alive; returns the times that belong to the message."""
        if state.incarnation != incarnation:
            self._drop(state, now)
            state.incarnation = incarnation
            state.timeline.restart()
        if not state.tried:
            self._progress = now
        state.heard_at, state.connected, state.tried = now, True, True
        return state.timeline.place(now, age, partial=partial)

    def _drop(self, state: _Member, now: float) -> None:
        for app, record in state.records.items():
            self._gauge(self._app(app), record.size, record.size.before(), now)
        state.records = {}

    def _note(self, state: _Member, size: QueueSize, times: MessageTime, *, recent: bool = False) -> None:
        """`recent`: it had a request within its activity period, whatever the totals grew by."""
        record = state.records.get(size.app)
        if times.late and (record is None or times.age < record.age):
            return  # newer data is known already
        before = size.before() if record is None else record.size
        if size.generation < before.generation:
            return  # an older entry of that name, sent after its successor
        app = self._app(size.app)
        was_active, was_held = app.active(times.now), app.held
        self._grow(app, before if size.generation == before.generation else size.before(), size, record, times)
        self._gauge(app, before, size, times.now)
        if recent:
            app.last_demand = app.last_request = times.now
        self._remember(state, record, size, times)
        wakes = (app.held > 0 and not was_held) or (not was_active and app.active(times.now))
        if wakes:
            self.needs.woken(size.app, times.now)

    def _grow(self, app: AppState, before: QueueSize, after: QueueSize, record: _Record | None, times: MessageTime) -> None:
        """Add the growth of the totals to the windows, at the time when it happened."""
        requests = after.requests_total - before.requests_total
        seconds = after.concurrency_seconds_total - before.concurrency_seconds_total
        begin, begin_age = times.since, times.since_age
        if record is not None and record.at > begin:
            begin, begin_age = record.at, record.age
        if requests > 0:
            app.rate.add(float(requests), times.at, begin)
            app.last_demand = app.last_request = times.now
        if seconds > 0.0:
            app.concurrency.add(seconds * times.share(begin, begin_age), times.at, begin)

    def _remember(self, state: _Member, record: _Record | None, size: QueueSize, times: MessageTime) -> None:
        if not size.requests_total and not size.has_demand:
            state.records.pop(size.app, None)
        elif record is None:
            state.records[size.app] = _Record(size, times)
        else:
            record.size, record.at, record.age = size, times.at, times.age

    def _gauge(self, app: AppState, before: QueueSize, after: QueueSize, now: float) -> None:
        held = app.held + after.held - before.held
        in_flight, busy = app.in_flight + after.in_flight - before.in_flight, app.busy + after.busy - before.busy
        if app.level or held or in_flight or busy:
            app.last_demand = now
        if app.held or app.in_flight or held or in_flight:
            app.last_request = now
        app.held, app.in_flight, app.busy = held, in_flight, busy
        app.connections += after.connections - before.connections
