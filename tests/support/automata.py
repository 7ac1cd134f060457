"""Regular expressions as automata: finds where a pattern can match the same text in more than one way, and texts that try it.

Python's matcher backtracks to every choice that it made. How many choices a text can offer is computed from the automaton of the
pattern's parse tree, as for ReDoS by Weideman and others ("Analyzing Matching Time Behavior of Backtracking Regular Expression
Matchers by Using Ambiguity of NFA", 2016). Possessive repeats and atomic groups are treated like their backtracking equivalents,
so the result may be too strict, but never too lax.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeVar

__all__ = ["MODES", "Automaton", "Unreadable", "Witness", "attacks", "witness"]

_parser: Any = import_module("re._parser")  # the standard library's own parser, so it sees exactly what is matched
_compiler: Any = import_module("re._compiler")
_codes: Any = import_module("re._constants")

T = TypeVar("T")

WALKING = frozenset({"search", "split", "sub", "subn", "findall", "finditer"})
"""Methods that try to match at one position of the text after another."""
MODES = ("match", "fullmatch", *sorted(WALKING))

BOUNDED = 16
"""A repeat with at most this many turns is expanded; a repeat with more counts as unbounded."""
MOST_PATHS = 20_000
_BEYOND = [0x100, 0x130, 0x131, 0x17F, 0x212A, 0x3BC, 0x660, 0x1E9E, 0x2028, 0x3000, 0xD800, 0xFF15, 0x1F600]
"""Characters outside Latin-1 with special properties: letters with unusual case rules, digits, blanks, a surrogate."""


class Unreadable(Exception):
    """A pattern that this module cannot analyse, which must not be used therefore."""


@dataclass
class Node:
    """A point of the pattern between two characters."""

    free: list[tuple[int, str]] = field(default_factory=list)
    """Nodes that follow without a character; "begin": only at the start of the text, "may fail": only if an assertion holds."""
    takes: int = 0
    """The set of characters that can be read here, one bit each."""
    to: int = -1


@dataclass(frozen=True)
class Witness:
    """Why a pattern may take more than linear time: `before`, followed by many `pump`, can be matched in many ways."""

    before: str
    pump: str
    why: str


class Automaton:
    """The automaton of a pattern for one method. A position is a character of the pattern, and means "this was read last"."""

    def __init__(self, pattern: re.Pattern[Any], mode: str) -> None:
        self.pattern = pattern
        self.mode = mode
        tree = _parser.parse(pattern.pattern, pattern.flags)
        self._state = tree.state
        self._groups: dict[int, tuple[Any, int]] = {}
        self.alphabet = _alphabet(pattern)
        self._all = (1 << len(self.alphabet)) - 1
        self.nodes: list[Node] = []
        self.begin = self._node()
        start = self._node()
        self.accept = self._build(tree, start, pattern.flags)
        self._free(self.begin, start)
        self.walk = self._walk(start) if mode in WALKING else -1
        self.first = self._closure(self.begin, consumed=False)
        self._next = {at: self._closure(node.to, consumed=True) for at, node in enumerate(self.nodes) if node.takes}
        self.positions = _reachable(self.first, self.followers)

    def takes(self, position: int) -> int:
        return self.nodes[position].takes

    def followers(self, position: int) -> Iterable[int]:
        return self._next[position]

    def ways(self, position: int, follower: int) -> int:
        """In how many ways `follower` can directly follow `position`: 1, or 2 for more."""
        return self._next[position][follower]

    def sure(self, position: int) -> bool:
        """Whether the match succeeds after this position whatever follows, so that no backtracking happens."""
        if self.mode == "fullmatch":
            return False
        seen, todo = set(), [self.nodes[position].to]
        while todo:
            at = todo.pop()
            if at == self.accept:
                return True
            if at not in seen:
                seen.add(at)
                todo += [to for to, kind in self.nodes[at].free if not kind]
        return False

    def text(self, chars: Iterable[int]) -> str:
        return "".join(chr(char) for char in chars)

    def some_of(self, takes: int) -> int:
        """A character of a set, a printable one if possible."""
        found = [char for at, char in enumerate(self.alphabet) if takes >> at & 1]
        return next((char for char in found if 0x21 <= char < 0x7F), found[0])

    # -- how it is built ------------------------------------------------------------------------------------------

    def _node(self) -> int:
        self.nodes.append(Node())
        return len(self.nodes) - 1

    def _free(self, at: int, to: int, kind: str = "") -> None:
        self.nodes[at].free.append((to, kind))

    def _take(self, at: int, takes: int) -> int:
        """Add a character, at a new node if this one already has a character, to keep them apart."""
        here, after = self._node(), self._node()
        self._free(at, here)
        self.nodes[here].takes, self.nodes[here].to = takes, after
        return after

    def _walk(self, start: int) -> int:
        """Allow any number of any characters before the pattern."""
        after = self._take(self.begin, self._all)
        walk = after - 1
        self._free(after, walk)
        self._free(after, start)
        return walk

    def _build(self, items: Iterable[tuple[Any, Any]], at: int, flags: int) -> int:
        for code, value in items:
            at = self._item(code, value, at, flags)
        return at

    def _item(self, code: Any, value: Any, at: int, flags: int) -> int:
        build = {
            _codes.BRANCH: self._branch,
            _codes.SUBPATTERN: self._group,
            _codes.ATOMIC_GROUP: self._build,
            _codes.MAX_REPEAT: self._repeat,
            _codes.MIN_REPEAT: self._repeat,
            _codes.POSSESSIVE_REPEAT: self._repeat,
            _codes.AT: self._place,
            _codes.ASSERT: self._look,
            _codes.ASSERT_NOT: self._look,
            _codes.GROUPREF: self._again,
            _codes.GROUPREF_EXISTS: self._either,
        }.get(code)
        if build is not None:
            return build(value, at, flags)
        if code is _codes.FAILURE:
            return self._node()
        return self._take(at, _members(self._state, (code, value), flags, self.alphabet))

    def _branch(self, value: Any, at: int, flags: int) -> int:
        end = self._node()
        for items in value[1]:
            start = self._node()
            self._free(at, start)
            self._free(self._build(items, start, flags), end)
        return end

    def _group(self, value: Any, at: int, flags: int) -> int:
        number, add, remove, items = value
        flags = (flags | add) & ~remove
        if number is not None:
            self._groups[number] = (items, flags)
        return self._build(items, at, flags)

    def _repeat(self, value: Any, at: int, flags: int) -> int:
        least, most, items = value
        for _ in range(min(least, BOUNDED)):
            at = self._build(items, at, flags)
        end = self._node()
        if most - least > BOUNDED or least > BOUNDED:
            turn = self._node()
            self._free(at, turn)
            start = self._node()
            self._free(turn, start)
            self._free(self._build(items, start, flags), turn)
            self._free(turn, end)
            return end
        for _ in range(most - least):
            self._free(at, end)
            start = self._node()
            self._free(at, start)
            at = self._build(items, start, flags)
        self._free(at, end)
        return end

    def _place(self, value: Any, at: int, flags: int) -> int:
        beginning = value is _codes.AT_BEGINNING_STRING or (value is _codes.AT_BEGINNING and not flags & re.MULTILINE)
        end = self._node()
        self._free(at, end, "begin" if beginning else "may fail")
        return end

    def _look(self, value: Any, at: int, flags: int) -> int:
        """An assertion: its pattern is added as a branch without an end, and the rest continues as if it were not there."""
        direction, items = value
        if direction > 0:
            start = self._node()
            self._free(at, start)
            self._build(items, start, flags)
        end = self._node()
        self._free(at, end, "may fail")
        return end

    def _again(self, value: Any, at: int, _flags: int) -> int:
        items, flags = self._groups[value]
        if items.getwidth()[1] > BOUNDED:
            raise Unreadable(f"{self.pattern.pattern!r} refers to a group of any length")
        return self._build(items, at, flags)

    def _either(self, value: Any, at: int, flags: int) -> int:
        _, yes, no = value
        return self._branch((None, [yes, no or []]), at, flags)

    def _closure(self, at: int, *, consumed: bool) -> dict[int, int]:
        """The positions that may be read next, and in how many ways (at most 2), by paths that use no step twice."""
        found: dict[int, int] = {}
        paths = 0
        todo: list[tuple[int, frozenset[tuple[int, int]]]] = [(at, frozenset())]
        while todo:
            here, steps = todo.pop()
            paths += 1
            if paths > MOST_PATHS:
                raise Unreadable(f"{self.pattern.pattern!r} has too many ways without a character")
            if self.nodes[here].takes:
                found[here] = min(2, found.get(here, 0) + 1)
            for to, kind in self.nodes[here].free:
                if (here, to) not in steps and not (consumed and kind == "begin"):
                    todo.append((to, steps | {(here, to)}))
        return found


def witness(pattern: re.Pattern[Any], mode: str) -> Witness | None:
    """Proof that a pattern may take more than linear time, or None if it cannot.

    The rule: let a point be a character of the pattern inside a repeat or, for methods that try every position of the text, the
    step from one position to the next. There must be no two points p and q and no text t such that t leads from p to p, from p to
    q and from q to q; nor two ways from one point to the next by the same text inside one repeat. Otherwise n times t can be
    divided between them in at least n ways, and all are tried if the rest does not match. This does not apply if the rest cannot
    fail to match (the pattern may end there), because then the first way succeeds. A repeat of at most 16 turns does not count.
    """
    automaton = Automaton(pattern, mode)
    circles = _circles(automaton)
    for p in circles:
        for follower in automaton.followers(p):
            if (
                automaton.ways(p, follower) > 1
                and follower in circles
                and p in circles[follower]
                and not automaton.sure(follower)
            ):
                pump = _word(automaton, automaton.followers(p), p) or []
                return Witness(_before(automaton, p), automaton.text(pump), "one repeat within another, over the same text")
    for p, reach in circles.items():
        for q in reach:
            if q == p or q not in circles or automaton.sure(q):
                continue
            shared = _shared(automaton, circles, p, q)
            if shared is not None:
                why = "starts at many places" if p == automaton.walk else "two repeats over the same text"
                return Witness(_before(automaton, p), automaton.text(shared), why)
    return None


def attacks(pattern: re.Pattern[Any], mode: str) -> Iterator[tuple[str, str, str]]:
    """Texts that try a pattern, as (before, pump, after): each repeat is reached, repeated with each kind of character that it
    accepts, and left with each kind of character that exists. Independent of `witness`."""
    automaton = Automaton(pattern, mode)
    kinds = _kinds(automaton)
    afters = ["", *(chr(char) for char in _spread(kinds, ~0, automaton)[::-1])]
    pumps: dict[tuple[str, str], None] = {}
    for position in _circles(automaton):
        if position == automaton.walk:
            continue
        before = _before(automaton, position)
        pumps[before[:-1], before] = None  # for methods that try every position: many beginnings
        for char in _spread(kinds, automaton.takes(position), automaton):
            pumps[before[:-1] + chr(char), chr(char)] = None
        circle = _word(automaton, automaton.followers(position), position)
        if circle is not None:
            pumps[before, automaton.text(circle)] = None
    for before, pump in pumps:
        for after in afters:
            yield before, pump, after


MOST_KINDS = 8


def _kinds(automaton: Automaton) -> dict[int, int]:
    """One character of each kind; a kind is accepted by the same positions. The value is the number of these positions."""
    found: dict[tuple[bool, ...], list[int]] = {}
    for at, char in enumerate(automaton.alphabet):
        found.setdefault(tuple(bool(automaton.takes(p) >> at & 1) for p in automaton.positions), []).append(char)
    return {next((char for char in chars if 0x20 <= char < 0x7F), chars[0]): sum(kind) for kind, chars in found.items()}


def _spread(kinds: dict[int, int], takes: int, automaton: Automaton) -> list[int]:
    """A few characters of a set, one of each kind, those accepted by most positions first."""
    chosen = [char for char in kinds if takes >> automaton.alphabet.index(char) & 1]
    chosen.sort(key=lambda char: -kinds[char])
    return chosen if len(chosen) <= MOST_KINDS else [*chosen[: MOST_KINDS // 2], *chosen[-MOST_KINDS // 2 :]]


def _circles(automaton: Automaton) -> dict[int, set[int]]:
    """The positions that can be reached from themselves, each with all positions reachable from it."""
    reach = {at: set(_reachable(automaton.followers(at), automaton.followers)) for at in automaton.positions}
    return {at: found for at, found in reach.items() if at in found}


def _shared(automaton: Automaton, circles: dict[int, set[int]], p: int, q: int) -> list[int] | None:
    """A text that leads from p to p, from p to q, and from q to q."""
    back_to_p = {at for at in circles[p] if at in circles and p in circles[at]}
    around_q = {at for at in circles[q] if at in circles and q in circles[at]}

    def step(state: tuple[int, int, int]) -> Iterator[tuple[tuple[int, int, int], int]]:
        first, second, third = (list(automaton.followers(at)) for at in state)
        for x in back_to_p.intersection(first):
            for z in around_q.intersection(third):
                both = automaton.takes(x) & automaton.takes(z)
                if both:
                    yield from (((x, y, z), takes) for y in second if (takes := both & automaton.takes(y)))

    return _search(automaton, [(p, p, q)], (p, q, q), step)


def _word(automaton: Automaton, first: Iterable[int], last: int) -> list[int] | None:
    """The shortest text that leads from one of some positions to the last one."""

    def step(state: int) -> Iterator[tuple[int, int]]:
        following = first if state < 0 else automaton.followers(state)
        yield from ((to, automaton.takes(to)) for to in following)

    return _search(automaton, [-1], last, step)


def _before(automaton: Automaton, position: int) -> str:
    return automaton.text(_word(automaton, automaton.first, position) or [])


def _search(automaton: Automaton, start: list[T], goal: T, step: Callable[[T], Iterator[tuple[T, int]]]) -> list[int] | None:
    """Breadth-first search from the start to the goal, one character per step, at least one step."""
    came: dict[T, tuple[T, int]] = {}
    todo = deque(start)
    while todo:
        state = todo.popleft()
        for to, takes in step(state):
            if to in came:
                continue
            came[to] = (state, takes)
            if to == goal:
                return _trace(automaton, came, start, to)
            todo.append(to)
    return None


def _trace(automaton: Automaton, came: dict[T, tuple[T, int]], start: list[T], state: T) -> list[int]:
    chars: list[int] = []
    while True:
        state, takes = came[state]
        chars.append(automaton.some_of(takes))
        if state in start:
            return chars[::-1]


def _reachable(first: Iterable[int], followers: Callable[[int], Iterable[int]]) -> list[int]:
    found = dict.fromkeys(first)
    todo = list(found)
    while todo:
        for to in followers(todo.pop()):
            if to not in found:
                found[to] = None
                todo.append(to)
    return list(found)


def _alphabet(pattern: re.Pattern[Any]) -> tuple[int, ...]:
    if isinstance(pattern.pattern, bytes):
        return tuple(range(0x100))
    return tuple(sorted({*range(0x100), *_BEYOND, *(ord(char) for char in pattern.pattern)}))


def _members(state: Any, item: tuple[Any, Any], flags: int, alphabet: tuple[int, ...]) -> int:
    """The characters that one item accepts, found by asking the matcher itself."""
    return _asked(repr(item), flags, alphabet, _Held((state, item)))


class _Held:
    """An argument that the cache ignores."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=4096)
def _asked(_item: str, flags: int, alphabet: tuple[int, ...], held: _Held) -> int:
    state, item = held.value
    one = _compiler.compile(_parser.SubPattern(state, [item]), flags)
    of_text = len(alphabet) > 0x100  # the flags do not show it: ASCII replaces the flag of str patterns
    texts: Iterable[Any] = (chr(char) if of_text else bytes((char,)) for char in alphabet)
    return sum(1 << at for at, text in enumerate(texts) if one.fullmatch(text))
