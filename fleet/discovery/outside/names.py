"""Which names are followed, what is known of each, and when each is looked up again. Look-ups and the time are passed in.

What a name server says is kept until it says something else: a failed look-up changes nothing about the addresses. Look-ups at
once are bounded, and names that are new, that fail, and that are answered have places of their own, so that names of which
somebody's server is silent delay nobody else's.
"""

from __future__ import annotations

import heapq
import logging
import random
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from fleet.discovery.outside.lookup import Denied, Failed, Found, Result
from fleet.discovery.outside.policy import AddressPolicy
from fleet.discovery.sources import NO_ADDRESS, REFUSED_ADDRESS, Trouble

__all__ = ["MAX_BACKENDS", "MAX_NAMES", "REFUSED", "Names", "Ttl"]

MAX_NAMES: Final = 10_000
"""Names followed at once: as many as there may be routes."""
MAX_BACKENDS: Final = 128
"""Addresses of one name that become backends, each with connections and probes of its own."""
PLACES: Final = {"answered": 16, "new": 8, "failing": 8}
"""Look-ups at once of the names whose last look-up was answered, of those that have had none, and of the others."""
GONE_AFTER: Final = 3
"""Answers in a row that there is no address, after which the last ones are dropped: one may be a mistake of a name server."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds between look-ups that fail, doubling; and at most between two that are answered by "there is none"."""
JITTER: Final = 0.1
"""Random share by which a look-up comes later than the TTL says, so that a fleet does not ask at once."""

REFUSED: Final = Trouble("its addresses are not among those that WEIR_OUTSIDE_ALLOWED allows", True, REFUSED_ADDRESS)

_log = logging.getLogger(__name__)


class Ttl(NamedTuple):
    """Bounds of the time for which an answer is used, in seconds, whatever its TTL."""

    least: float
    most: float

    def within(self, seconds: float) -> float:
        return min(max(seconds, self.least), self.most)


class _Name:
    """What is known of one name."""

    __slots__ = ("addresses", "denials", "due", "failures", "found", "is_running", "lane", "name", "trouble", "turn")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lane = "new"
        self.is_running = False
        self.turn = 0
        """Of its place in the queue: an earlier one is no longer valid."""
        self.due = 0.0
        self.found: Found | None = None
        """The last addresses, both families."""
        self.addresses: tuple[str, ...] = ()
        """Those that may be used."""
        self.trouble: Trouble | None = None
        self.denials = self.failures = 0


class Names:
    """The followed names. Times are seconds of the caller's clock."""

    def __init__(self, policy: AddressPolicy, ttl: Ttl, *, uniform: Callable[[], float] = random.random) -> None:
        self._policy, self._ttl, self._random = policy, ttl, uniform
        self._names: dict[str, _Name] = {}
        self._queues: dict[str, list[tuple[float, int, str]]] = {lane: [] for lane in PLACES}
        self._running = dict.fromkeys(PLACES, 0)
        self._turns = 0
        self._full = False

    def __len__(self) -> int:
        return len(self._names)

    @property
    def untried(self) -> bool:
        """Whether a name has not been looked up yet."""
        return any(one.lane == "new" for one in self._names.values())

    def addresses(self, name: str) -> tuple[str, ...]:
        one = self._names.get(name)
        return () if one is None else one.addresses

    def trouble(self, name: str) -> Trouble | None:
        """What is wrong with a name, also while its last addresses are still used."""
        one = self._names.get(name)
        if one is None:
            return Trouble("too many names are looked up", hopeless=True, kind=NO_ADDRESS)
        return one.trouble

    def want(self, names: Iterable[str], now: float) -> None:
        """Follow these names and no others."""
        wanted = dict.fromkeys(names)
        for name in self._names.keys() - wanted.keys():
            del self._names[name]
        new = [name for name in wanted if name not in self._names]
        room = MAX_NAMES - len(self._names)
        if len(new) > room and not self._full:
            _log.warning("%d names to look up, at most %d are possible: the others have no backends", len(wanted), MAX_NAMES)
        self._full = len(new) > room
        for name in new[:room]:
            one = self._names[name] = _Name(name)
            self._enqueue(one, now)

    def take(self, now: float) -> list[tuple[str, str]]:
        """The names to look up now, each with the lane whose place it takes. The caller reports the result of each to
        `answered`."""
        taken: list[tuple[str, str]] = []
        for lane, queue in self._queues.items():
            while queue and queue[0][0] <= now and self._running[lane] < PLACES[lane]:
                _, turn, name = heapq.heappop(queue)
                one = self._names.get(name)
                if one is not None and one.turn == turn:
                    one.is_running = True
                    self._running[lane] += 1
                    taken.append((name, lane))
        return taken

    def next_due(self) -> float | None:
        """When `take` may have something, unless a look-up ends or names are added before; None if only then."""
        return min(
            (queue[0][0] for lane, queue in self._queues.items() if queue and self._running[lane] < PLACES[lane]), default=None
        )

    def answered(self, name: str, lane: str, result: Result, now: float) -> bool:
        """A look-up has ended, which took a place of this lane. Returns whether anything about the name has changed."""
        self._running[lane] -= 1
        one = self._names.get(name)
        if one is None or not one.is_running:
            return False
        one.is_running = False
        before = (one.addresses, one.trouble)
        if isinstance(result, Found):
            pause = self._found(one, result)
        elif isinstance(result, Denied):
            pause = self._denied(one, result)
        else:
            pause = self._failed(one, result)
        self._enqueue(one, now + pause * (1 + JITTER * self._random()))
        changed = (one.addresses, one.trouble) != before
        if changed and one.trouble is not None:
            kept = "; its last addresses stay" if one.addresses else ""
            _log.warning("%s: %s%s", name, one.trouble.reason, kept)
        return changed

    def _found(self, one: _Name, found: Found) -> float:
        last = one.found
        if last is not None and last.name == found.name:  # of a family about which nothing is known, the last addresses stay
            found = found._replace(v4=last.v4 if found.v4 is None else found.v4, v6=last.v6 if found.v6 is None else found.v6)
        one.found, one.lane = found, "answered"
        one.denials = one.failures = 0
        every = sorted({*(found.v4 or ()), *(found.v6 or ())})
        allowed = [address for address in every if self._policy.allows(address, found.name)]
        if len(allowed) < len(every):
            refused = [address for address in every if address not in set(allowed)]
            _log.debug("%s: not allowed: %s", one.name, ", ".join(refused[:3]))
        one.addresses = tuple(allowed[:MAX_BACKENDS])
        one.trouble = None
        if not allowed:
            one.trouble = REFUSED
        return self._ttl.within(found.ttl)

    def _denied(self, one: _Name, denied: Denied) -> float:
        one.denials += 1
        one.failures = 0
        if one.denials >= GONE_AFTER or not one.addresses:
            one.found, one.addresses, one.lane = None, (), "failing"
        why = "does not exist (NXDOMAIN)" if denied.why == "NXDOMAIN" else f"has {denied.why}"
        one.trouble = Trouble(f"its name {why}", hopeless=not one.addresses, kind=NO_ADDRESS)
        return min(self._ttl.within(denied.ttl), LONGEST_PAUSE)

    def _failed(self, one: _Name, failed: Failed) -> float:
        one.failures += 1
        one.lane = "failing"
        one.trouble = Trouble(f"its name is not resolved: {failed.why}", kind=NO_ADDRESS)
        return min(FIRST_PAUSE * 2.0 ** min(one.failures - 1, 10), LONGEST_PAUSE)

    def _enqueue(self, one: _Name, due: float) -> None:
        self._turns += 1
        one.turn, one.due = self._turns, due
        heapq.heappush(self._queues[one.lane], (due, one.turn, one.name))
