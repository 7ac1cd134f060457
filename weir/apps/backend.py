"""What commands on apps need of the place where the apps are: a cluster, or a running `weir up`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from weir.apps.given import Given

if TYPE_CHECKING:  # it draws on terminals, by a library that takes long to load
    from weir.apps.progress import Steps

__all__ = ["Backend", "How", "Result"]

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a change is made."""

    steps: Steps
    wait: bool = True
    patience: float = 180.0
    """Seconds to wait at most."""
    dry_run: bool = False
    if_match: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a command."""

    summary: str
    """In words for people."""
    value: Any = None
    """For programs."""
    lines: Sequence[str] = ()
    """More for people."""
    is_reached: bool = True
    """Whether what was waited for has come."""
    warnings: Sequence[str] = field(default=())


class Backend(Protocol):
    """Every method raises NotDoneError."""

    @property
    def place(self) -> str:
        """Where that is, for people."""

    def create(self, name: str, given: Given, how: How) -> Result: ...

    def update(self, name: str, given: Given, how: How) -> Result: ...

    def delete(self, name: str, how: How) -> Result: ...

    def order(self, verb: str, name: str, how: How, *, duration: float | None) -> Result:
        """Wake or sleep."""

    def apps(self) -> Sequence[View]:
        """All of them."""

    def columns(self) -> Sequence[str]:
        """Of the table of them."""

    def row(self, view: View) -> Sequence[str]: ...

    def app(self, name: str) -> View: ...

    def document(self, view: View) -> Any:
        """What `update --file` takes."""

    def fields(self, view: View) -> Mapping[str, str]:
        """An app for people."""

    def details(self, view: View) -> Sequence[Sequence[str]]:
        """A table about it; its first row is the head. May be empty."""

    def logs(self, name: str, *, follow: bool, lines: int, since: float | None) -> Iterator[str]: ...

    def interrupted(self, name: str) -> str:
        """What an interruption leaves open; "" if nothing."""
