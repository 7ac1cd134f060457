"""What runs before the first replica of an app: once, to its end, after what the app needs; and its failures and ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from fleet.discovery.sources import Trouble
from tests.support.ports import KeptPort
from tests.support.waiting import until
from tests.wire.engine_stage import Stage, gone
from weir.engine.before import Before
from weir.engine.held import Held
from weir.engine.spec import AppSpec


class Needed:
    """An app that is needed."""

    def __init__(self) -> None:
        self.ready = False
        self.trouble: Trouble | None = None
        self.seen: list[str] = []
        """By whom it was held, at each change."""
        self.held = Held(lambda: self.ready, lambda: self.trouble, lambda: self.seen.append(self.held.by))


class Rig:
    """A `Before` that is asked again after each change, as an app does that has to have replicas."""

    def __init__(self, stage: Stage, **spec: object) -> None:
        self.stage = stage
        self.needs: dict[str, Held | None] = {}
        self.wanted = True
        self.reasons: list[str] = []
        """What requests would have been given as the reason, at each change."""
        self.spec = app(**spec)
        self.before = Before(self.spec, stage.directory, stage.context, self._needs, on_change=self._changed)

    def _needs(self) -> Mapping[str, Held | None]:
        return self.needs

    def _changed(self) -> None:
        trouble = self.before.trouble
        reason = "" if trouble is None else f"{'! ' * trouble.hopeless}{trouble.reason}"
        if not self.reasons or self.reasons[-1] != reason:
            self.reasons.append(reason)
        if self.wanted:
            self.before.passed()

    def define(self, *, generation: int = 0, **spec: object) -> None:
        self.spec = app(**spec)
        self.before.define(self.spec, generation)

    def runs(self) -> list[str]:
        """The lines that runs have left."""
        file = self.stage.directory / "runs"
        return file.read_text().split() if file.exists() else []


def app(**spec: object) -> AppSpec:
    return AppSpec.model_validate({"name": "web", "hosts": ["web"], "command": "serve", "grace": 5.0, **spec})


@asynccontextmanager
async def rigged(stage: Stage, **spec: object) -> AsyncIterator[Rig]:
    rig = Rig(stage, **spec)
    try:
        yield rig
    finally:
        rig.wanted = False
        await rig.before.close()


async def test_nothing_is_to_run(stage: Stage) -> None:
    async with rigged(stage) as rig:
        assert rig.before.passed()


async def test_it_runs_once_for_each_definition(stage: Stage) -> None:
    line = 'echo "$NAME" >> runs; echo done'
    async with rigged(stage, before=line, env={"NAME": "one"}) as rig:
        assert not rig.before.passed()
        await until(rig.before.passed)
        assert rig.before.trouble is None
        assert ("web/before", "done") in stage.lines
        rig.define(before=line, env={"NAME": "one"}, max=9, cooldown=5)
        assert rig.before.passed(), "nothing of its process has changed"
        rig.define(before=line, env={"NAME": "two"})
        assert not rig.before.passed()
        await until(rig.before.passed)
        rig.define(before=line, env={"NAME": "two"}, generation=1)
        await until(rig.before.passed)
        rig.define(before=["/bin/sh", "-c", "echo three >> runs"], env={"NAME": "two"}, generation=1)
        await until(rig.before.passed)
    assert rig.runs() == ["one", "two", "two", "three"]
    assert rig.reasons[:2] == [f'"{line}" runs before it starts', ""]


async def test_it_has_the_variables_and_the_directory_of_a_replica(stage: Stage) -> None:
    (stage.directory / "below").mkdir()
    line = ["/bin/sh", "-c", 'echo "$PORT $URL $0" > seen; pwd >> seen', "at-${PORT}"]
    with KeptPort() as kept:
        for fields in ({}, {"port": kept.number}):
            async with rigged(stage, before=line, env={"URL": "http://x:$PORT/"}, cwd="below", **fields) as rig:
                await until(rig.before.passed)
            words = (stage.directory / "below" / "seen").read_text().split()
            port = words[0]
            assert words == [port, f"http://x:{port}/", f"at-{port}", str(stage.directory / "below")]
            assert not fields or port == str(kept.number), "that of another replica may be in use"


async def test_a_failure_has_its_command_its_code_and_its_last_line_and_is_tried_again_when_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.engine.before.RETRY_FIRST", 0.05)
    line = "echo x >> runs; echo error: no database; echo bye; test -e fine || exit 3"
    why = f'"{line}", which runs before it starts, ended with exit code 3: error: no database'
    async with rigged(stage, before=line) as rig:
        rig.wanted = False
        assert not rig.before.passed()
        await until(lambda: rig.before.refusal == why)
        assert rig.before.trouble == Trouble(why, hopeless=True)
        assert not rig.before.passed(), "it pauses"
        await until(lambda: not rig.before.refusal)
        assert rig.before.trouble == Trouble(why)
        assert rig.runs() == ["x"], "not before somebody asks"
        assert not rig.before.passed()
        await until(lambda: rig.before.failures == 2)
        assert [reason for reason in rig.reasons if reason.startswith('"echo x') and "; last, " in reason]
        (stage.directory / "fine").touch()
        rig.wanted = True
        await until(rig.before.passed)
    assert rig.before.trouble is None
    assert rig.before.failures == 0
    assert rig.runs() == ["x"] * 3


async def test_a_command_that_does_not_exist(stage: Stage) -> None:
    async with rigged(stage, before=["/does/not/exist", "a b"]) as rig:
        rig.before.passed()
        await until(lambda: rig.before.failures == 1)
        assert rig.before.problem == (
            "\"/does/not/exist 'a b'\", which runs before it starts, cannot start /does/not/exist: No such file or directory"
        )


async def test_what_takes_too_long_is_ended_with_all_that_it_has_started(stage: Stage) -> None:
    line = "echo $$ > pid; sleep 1000 & echo $! > other; echo working; wait"
    async with rigged(stage, before={"command": line, "timeout": 0.5}) as rig:
        rig.before.passed()
        await until(lambda: rig.before.failures == 1)
        assert rig.before.problem.endswith("which runs before it starts, took longer than 0.5 s: working")
        for name in ("pid", "other"):
            assert gone(int((stage.directory / name).read_text()))


@pytest.mark.parametrize("how", ["close", "define"])
async def test_it_ends_with_the_app_and_with_its_definition(stage: Stage, how: str) -> None:
    line = "trap 'echo ended; exit 0' TERM; echo $$ > pid; sleep 1000 & wait"
    async with rigged(stage, before=line) as rig:
        rig.before.passed()
        await until(lambda: (stage.directory / "pid").exists() and (stage.directory / "pid").read_text().endswith("\n"))
        pid = int((stage.directory / "pid").read_text())
        if how == "close":
            await rig.before.close()
            assert not rig.before.passed(), "nothing is started after the end"
        else:
            rig.define(before="echo new >> runs")
            assert not rig.before.passed()
            rig.define(before="echo newer >> runs")  # a second change does not interrupt its end
            await until(rig.before.passed)
            assert rig.runs() == ["newer"]
        assert gone(pid)
        await until(lambda: ("web/before", "ended") in stage.lines)


async def test_what_the_app_needs_is_awake_first_and_stays_so(stage: Stage) -> None:
    db, gate = Needed(), stage.directory / "gate"
    async with rigged(stage, before="echo x >> runs; while ! test -e gate; do sleep 0.02; done") as rig:
        rig.needs = {"default/db": db.held, "default/late": None}
        rig.before.passed()
        await until(lambda: db.seen == ["default/web"])
        db.ready = True
        await until(lambda: any("waits for late before" in reason for reason in rig.reasons))
        late = Needed()
        rig.needs["default/late"] = late.held
        await until(lambda: late.seen == ["default/web"])
        assert rig.runs() == []
        late.ready = True
        await until(lambda: rig.runs() == ["x"])
        assert db.seen == late.seen == ["default/web"]
        gate.touch()
        await until(rig.before.passed)
        assert db.seen == late.seen == ["default/web", ""]


async def test_what_it_needs_does_not_start(stage: Stage) -> None:
    db = Needed()
    async with rigged(stage, before={"command": "echo x >> runs", "timeout": 0.3}) as rig:
        rig.needs = {"default/db": db.held}
        rig.before.passed()
        await until(lambda: rig.before.failures == 1)
        assert rig.before.problem == '"echo x >> runs" cannot run before it starts: db was not ready within 0.3 s'
        db.trouble = Trouble("ended with exit code 1", hopeless=True)
        rig.define(before="echo x >> runs")
        rig.before.passed()
        await until(lambda: rig.before.failures == 1)
        assert rig.before.problem == (
            '"echo x >> runs" cannot run before it starts: db, which it needs, does not start: ended with exit code 1'
        )
    assert db.seen[-1] == "", "it may sleep"
    assert rig.runs() == []


async def test_an_end_while_it_waits_for_what_it_needs(stage: Stage) -> None:
    db = Needed()
    async with rigged(stage, before="echo x >> runs") as rig:
        rig.needs = {"default/db": db.held}
        rig.before.passed()
        await until(lambda: bool(db.seen))
    assert db.seen == ["default/web", ""]
    assert rig.runs() == []


async def test_hostile_output_and_commands_are_shown_safely(stage: Stage) -> None:
    line = "printf '\\033]0;title\\007error: \\033[31mred\\n'; printf 'x%.0s' $(seq 100000); exit 1 # " + "y" * 500
    async with rigged(stage, before=line) as rig:
        rig.before.passed()
        await until(lambda: rig.before.failures == 1)
        assert rig.before.problem.isprintable()
        assert len(rig.before.problem) < 600
    assert all(len(text) <= 8 * 1024 for _, text in stage.lines)


async def test_children_left_behind_end_with_it(stage: Stage) -> None:
    async with rigged(stage, before="setsid sleep 1000 & echo $! > pid") as rig:
        await until(rig.before.passed)
        pid = int((stage.directory / "pid").read_text())
        await until(lambda: gone(pid))
