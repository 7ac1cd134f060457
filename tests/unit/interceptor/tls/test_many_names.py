"""No handshake is slower for a thousand names: a certificate is looked up by name, whether one has all names or each its own."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import pytest

from interceptor.tls.certificates import Certificates
from interceptor.tls.policy import Policy
from tests.support.certificates import Authority
from tests.support.full import FULL
from tests.support.growth import count

NAMES = 1000
CERTIFICATES = 1000 if FULL else 100


class Counted(str):
    """A name that counts how often it is compared, also by code in C."""

    __slots__ = ("compared", "hashed")
    compared: int
    hashed: int

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.compared = made.hashed = 0
        return made

    def lower(self) -> str:
        return self

    def __eq__(self, other: object) -> bool:
        self.compared += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        self.hashed += 1
        return str.__hash__(self)


async def chosen(directory: Path, names: Collection[Collection[str]]) -> dict[str, tuple[int, int, int]]:
    """With these certificates: for the last name, for another one that the wildcard covers, and for one that none has: how many
    instructions the choice takes, and how often the name was hashed and compared."""
    authority = Authority()
    for number, each in enumerate(names):
        authority.write(directory, f"c{number:04d}", *each)
    certificates = Certificates(None, [directory], policy=Policy())
    await certificates.start()
    try:
        counts: dict[str, tuple[int, int, int]] = {}
        for name in ("last.test", "any.wild.test", "none.test"):
            counted, connection = Counted(name), cast("Any", type("Connection", (), {}))()
            # Once before: from 3.12 on, the first call that is traced is not traced from its beginning.
            for each in (Counted(name), counted):
                taken = count(partial(certificates._choose, connection, each, certificates.context))
            expected = certificates.certificates[0 if name == "none.test" else -1]
            assert connection.context is expected.context
            counts[name] = (taken, counted.hashed, counted.compared)
        return counts
    finally:
        await certificates.close()


@pytest.mark.parametrize("each_its_own", [False, True], ids=["one certificate", "many certificates"])
async def test_a_choice_takes_the_same_steps_with_a_thousand_names(*, tmp_path: Path, each_its_own: bool) -> None:
    last = ["last.test", "*.wild.test"]
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few = await chosen(tmp_path / "few", [["first.test"], last])
    if each_its_own:
        many = [[f"n{number}.test"] for number in range(CERTIFICATES - 1)] + [last]
    else:
        many = [["first.test"], [f"n{number}.test" for number in range(NAMES - 2)] + last]
    assert await chosen(tmp_path / "many", many) == few
    assert all(hashed == 1 and compared <= 1 for _, hashed, compared in few.values()), few
