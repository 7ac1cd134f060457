import asyncio
from collections.abc import Callable, Iterable

from controller.propagation import Interceptor, Propagation
from controller.publisher import WRITING_SPACING_SECONDS, Publisher, affected
from controller.resources import Key, Resource
from controller.table import assemble
from fleet.discovery.sources import SourceError
from fleet.routing.table import RoutingTable
from tests.support.waiting import until
from tests.unit.controller.objects import http


class Kept:
    """A store that can be made to fail."""

    def __init__(self) -> None:
        self.table: RoutingTable | None = None
        self.writes = 0
        self.failing = False
        self.unreadable = False
        self.on_write: Callable[[RoutingTable], None] = lambda table: None

    def subscribe(self, on_change: Callable[[], None]) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def read(self) -> RoutingTable | None:
        if self.unreadable:
            raise SourceError("not a table")
        return self.table

    async def write(self, table: RoutingTable) -> bool:
        self.on_write(table)
        if self.failing:
            raise SourceError("away")
        if self.table is not None and self.table.version == table.version:
            return False
        self.table = table
        self.writes += 1
        return True


class Naps:
    """Sleeps that end when the test ends them, or at once."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.over = asyncio.Event()
        self.over.set()

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)
        await self.over.wait()


class Rig:
    def __init__(self) -> None:
        self.objects: dict[str, Resource] = {}
        self.store = Kept()
        self.propagation = Propagation()
        self.concerned: list[set[Key]] = []
        self.published = 0
        self.naps = Naps()
        self.leads = True
        self.publisher = Publisher(
            self.objects.values,
            dict,
            self.store,
            self.propagation,
            on_objects=self._concern,
            on_published=self._publish,
            leads=lambda: self.leads,
            sleep=self.naps,
        )

    def _concern(self, keys: Iterable[Key]) -> None:
        self.concerned.append(set(keys))

    def _publish(self) -> None:
        self.published += 1


async def running(rig: Rig) -> asyncio.Task[None]:
    rig.publisher.changed()
    task = asyncio.create_task(rig.publisher.run())
    await until(lambda: rig.published)
    return task


async def test_the_first_change_is_written_at_once_and_what_follows_together_a_second_later() -> None:
    rig = Rig()
    rig.naps.over.clear()
    rig.objects["first"] = http("first")
    task = await running(rig)
    await until(lambda: rig.naps.taken)
    assert rig.naps.taken[0] >= WRITING_SPACING_SECONDS, "each write is of the whole table"
    for number in range(200):
        rig.objects[f"app{number}"] = http(f"app{number}")
        rig.publisher.changed()
        await asyncio.sleep(0)
    assert rig.store.writes == 1
    rig.naps.over.set()
    await until(lambda: rig.store.table is not None and len(rig.store.table.routes) == 201)
    assert rig.store.writes == 2
    assert rig.propagation.version == rig.store.table.version if rig.store.table else False
    task.cancel()


async def test_a_controller_that_writes_nothing_waits_for_less() -> None:
    rig = Rig()
    task = await running(rig)
    rig.publisher.changed()
    await until(lambda: len(rig.naps.taken) == 2)
    assert rig.naps.taken[0] >= WRITING_SPACING_SECONDS
    assert rig.naps.taken[1] < WRITING_SPACING_SECONDS
    task.cancel()


async def test_nothing_is_published_twice() -> None:
    rig = Rig()
    task = await running(rig)
    rig.publisher.changed()
    await until(lambda: len(rig.concerned) == 2)
    assert (rig.published, rig.store.writes) == (1, 1)
    assert rig.concerned[1] == set()
    task.cancel()


async def test_a_store_that_is_away_is_tried_again_and_nothing_is_reported_as_published() -> None:
    rig = Rig()
    rig.store.failing = True
    rig.objects["web"] = http()
    rig.publisher.changed()
    task = asyncio.create_task(rig.publisher.run())
    await until(lambda: rig.publisher.failure)
    assert rig.publisher.failure == "away"
    assert rig.published == 0
    assert rig.concerned[0] == {http().key}, "conflicts are known although nothing was written"
    rig.store.failing = False
    await until(lambda: rig.published)
    assert not rig.publisher.failure
    task.cancel()


async def test_what_another_controller_wrote_is_what_it_begins_with() -> None:
    rig = Rig()
    old, new = http("old"), http("new")
    rig.objects.update(old=old, new=new)
    rig.store.table = assemble([old]).table
    rig.propagation.members([Interceptor("x", "10.0.0.1:9090", ready=True)])
    rig.store.on_write = lambda table: answered.append(rig.propagation.answered("x", before, asked=before))
    answered: list[bool] = []
    before = rig.store.table.version
    task = await running(rig)
    await until(lambda: rig.published == 2)
    assert answered == [True]
    assert old.route is not None
    verdict = rig.propagation.verdict(old.route)
    assert verdict is not None
    assert verdict.everywhere, "who serves the table of before serves what has not changed since"
    task.cancel()


async def test_a_store_that_cannot_be_read_is_written() -> None:
    rig = Rig()
    rig.objects["web"] = http()
    rig.store.unreadable = True
    task = await running(rig)
    assert rig.store.writes == 1
    task.cancel()


async def test_a_change_that_was_taken_back_before_it_could_be_written() -> None:
    rig = Rig()
    web = http()
    rig.objects["web"] = web
    rig.propagation.members([Interceptor("x", "10.0.0.1:9090", ready=True)])
    task = await running(rig)
    rig.store.failing = True
    rig.store.on_write = lambda table: rig.naps.over.clear()  # the next attempt waits, and so begins with what is put back
    del rig.objects["web"]
    rig.publisher.changed()
    await until(lambda: rig.publisher.failure)
    rig.objects["web"] = web
    rig.store.failing = False
    rig.store.on_write = lambda table: None
    rig.naps.over.set()
    await until(lambda: rig.published == 2)
    assert web.route is not None
    assert rig.propagation.verdict(web.route) is not None
    task.cancel()


async def test_interceptors_may_read_a_table_before_it_is_known_to_be_written() -> None:
    rig = Rig()
    old = http("old")
    rig.objects["old"] = old
    rig.propagation.members([Interceptor("x", "10.0.0.1:9090", ready=True)])
    task = await running(rig)
    assert old.route is not None
    answered: list[bool] = []

    def read(table: RoutingTable) -> None:
        answered.append(rig.propagation.answered("x", table.version, asked=rig.propagation.version))

    rig.store.on_write = read
    rig.objects["new"] = http("new")
    rig.publisher.changed()
    await until(lambda: rig.published == 2)
    assert answered == [True]
    verdict = rig.propagation.verdict(old.route)
    assert verdict is not None
    assert verdict.everywhere
    task.cancel()


def test_which_apps_another_table_concerns() -> None:
    late = {"creationTimestamp": "2026-01-02T00:00:00Z"}
    a, b, c = http("a"), http("b", hosts=["a.example.com"], metadata=late), http("c")
    bad = http("bad", hosts=["no host"])
    before = assemble([a, b, c, bad])
    assert affected(None, before) == {a.key, b.key, c.key, bad.key}
    assert affected(before, before) == set()
    assert affected(before, assemble([b, c, bad])) == {a.key, b.key}
    assert affected(before, assemble([a, b, c, http("bad")])) == {bad.key}


async def test_a_leader_that_was_stopped_until_another_may_lead_writes_nothing_of_that_time() -> None:
    rig = Rig()
    rig.objects["a"] = http("a")
    task = await running(rig)
    rig.leads = False
    rig.objects.clear()
    rig.publisher.changed()
    await until(lambda: rig.publisher.failure)
    assert "lease" in rig.publisher.failure
    assert rig.store.table is not None
    assert (rig.store.writes, len(rig.store.table.routes)) == (1, 1)
    task.cancel()
