"""`make soak`: everything at once for as long as it is told, and then a look at what is left of it.

Sound and faulty apps, apps that sleep and wake, pods that are killed, a file that is edited, clients of every kind and a proxy
that breaks what passes. Fails (exit code 1) when an answer was wrong or one was lost that must not be, when memory grew, or when
a lease, a connection, a task or a descriptor is left in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import psutil
import uvloop

from tests.soak.record import MOST_GROWTH, Sample, growth, look
from tests.soak.town import document
from tests.soak.traffic import MUST_SUCCEED, Worker
from tests.support.faultproxy import FaultProxy, drawn
from tests.support.ports import free_port
from tests.system.harness import Up, running_up

WARM_UP = 0.2
"""Share of the time that memory may take to find its size."""
LONGEST_WARM_UP = 180.0
QUIET_SECONDS = 12.0
"""Longer than anything may rest after the last client has gone."""
SPARE_DESCRIPTORS = 8
"""Pipes and the like that are opened once, when first needed."""
EXCUSED_PER_KILL = 64
"""Exchanges of which bytes were on their way to or from a pod when it was killed: no more than there are clients."""
LAST_WORDS = 4000
"""Characters of the log that are shown if `weir up` ends by itself."""

_BUILD = Path(__file__).parents[2] / "build"


def main(argv: Sequence[str]) -> int:
    options = _options(argv)
    with tempfile.TemporaryDirectory(prefix="weir-soak-") as directory:
        soak = Soak(options)
        try:
            uvloop.run(soak.run(Path(directory)))
        except KeyboardInterrupt:
            return 130
    return soak.judge()


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default 20)")
    parser.add_argument("--clients", type=int, default=64, help="clients at once (default 64)")
    parser.add_argument("--seed", type=int, default=1, help="of all dice (default 1)")
    return parser.parse_args(argv)


class Soak:
    """One run, and its account."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.seconds = options.minutes * 60
        self.clients = options.clients
        self.dice = Random(options.seed)
        self.seed = options.seed
        self.tally: Counter[tuple[str, str]] = Counter()
        self.samples: list[Sample] = []
        self.before: Sample | None = None
        self.after: Sample | None = None
        self.kills = 0
        self.editions = 0
        self._began = 0.0
        self._tcp, self._udp = free_port(), free_port()

    async def run(self, directory: Path) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        first = self._document()
        async with running_up(directory, first, "--processes", "--duration", str(self.seconds + 300)) as up:
            await up_and_ready(up)
            self._began = monotonic()
            self.before = await look(up, 0.0)
            rough = FaultProxy(("127.0.0.1", up.port), drawn(self.seed, 0.5, 2000))
            await rough.start()
            await self._load(up, rough, stop)
            await rough.close()
            await asyncio.sleep(QUIET_SECONDS)
            self.after = await look(up, self._elapsed)

    async def _load(self, up: Up, rough: FaultProxy, stop: asyncio.Event) -> None:
        ports = {"port": up.port, "rough_port": rough.port, "tcp": self._tcp, "udp": self._udp}
        workers = [Worker(self.seed + n, tally=self.tally, **ports) for n in range(self.clients)]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        others = [asyncio.create_task(each) for each in (self._kill(up), self._edit(up), self._watch(up), self._forget(rough))]
        over = asyncio.create_task(stop.wait())
        # The others end only if they fail.
        await asyncio.wait([over, *others], timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
        if up.process.poll() is not None:
            raise RuntimeError(f"weir up has ended with {up.process.returncode}:\n{up.log[-LAST_WORDS:]}")
        for task in (over, *others):
            task.cancel()
        for worker in workers:
            worker.stopped = True
        await asyncio.gather(*tasks)
        for result in await asyncio.gather(*others, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _kill(self, up: Up) -> None:
        """Pods die without a word."""
        while True:
            await asyncio.sleep(self.dice.uniform(5.0, 15.0))
            pods = [process for process in psutil.Process(up.process.pid).children(recursive=True) if _is_pod(process)]
            if pods:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.dice.choice(pods).pid, signal.SIGKILL)
                    self.kills += 1

    async def _edit(self, up: Up) -> None:
        while True:
            await asyncio.sleep(8.0)
            self.editions += 1
            up.write(self._document())

    def _document(self) -> dict[str, Any]:
        return document(self.editions, tcp=self._tcp, udp=self._udp)

    async def _watch(self, up: Up) -> None:
        """Samples every few seconds, a line every minute."""
        pause = min(5.0, self.seconds / 60)
        told = monotonic()
        while True:
            await asyncio.sleep(pause)
            self.samples.append(await look(up, self._elapsed))
            if monotonic() - told >= 60.0:
                told = monotonic()
                _say(self._line())

    async def _forget(self, rough: FaultProxy) -> None:
        """What passed through the proxy that breaks things is of no more interest."""
        while True:
            await asyncio.sleep(1.0)
            rough.forget()

    @property
    def _elapsed(self) -> float:
        return monotonic() - self._began

    def _line(self) -> str:
        last, total = self.samples[-1], sum(self.tally.values())
        memory = ", ".join(f"{kind} {size:.1f}" for kind, size in last.rss.items())
        return (
            f"{last.seconds / 60:5.1f} min  {total:,} acts ({total / last.seconds:.0f}/s)  MiB: {memory}  "
            f"fds {last.descriptors}  tasks {last.tasks}  clients {last.clients}  kills {self.kills}  edits {self.editions}"
        )

    # -- the verdict ----------------------------------------------------------------------------------------------

    def judge(self) -> int:
        """Print the account; gives the exit code."""
        assert self.before is not None
        assert self.after is not None
        warm = [sample for sample in self.samples if sample.seconds > min(WARM_UP * self.seconds, LONGEST_WARM_UP)]
        faults = [*self._wrong(), *self._grown(warm), *self._left(self.before, self.after)]
        self._print_table(warm)
        _BUILD.mkdir(exist_ok=True)
        account = {"faults": faults, "tally": {" ".join(key): count for key, count in sorted(self.tally.items())}}
        samples = [asdict(sample) for sample in (self.before, *self.samples, self.after)]
        (_BUILD / "soak.json").write_text(json.dumps(account | {"samples": samples}, indent=1) + "\n")
        for fault in faults:
            print(f"FAULT: {fault}")
        print("soak: failed" if faults else "soak: passed")
        return 1 if faults else 0

    def _wrong(self) -> list[str]:
        faults = [f"{act}: {count} answers were wrong" for (act, outcome), count in self.tally.items() if outcome == "wrong"]
        allowed = self.kills * EXCUSED_PER_KILL
        cut = 0
        for act in MUST_SUCCEED:
            failed = {outcome: count for (name, outcome), count in self.tally.items() if name == act and outcome != "ok"}
            cut += failed.pop("lost", 0)
            faults += [f"{act}: {count} ended with {outcome}" for outcome, count in failed.items()]
            if not self.tally[act, "ok"]:
                faults.append(f"{act}: never succeeded")
        return faults + ([f"{cut} answers were cut short, which {self.kills} kills do not explain"] if cut > allowed else [])

    def _grown(self, warm: list[Sample]) -> list[str]:
        shares = {kind: growth(warm, kind) for kind in warm[0].rss}
        return [f"the memory of the {kind} grew by {share:.1%}" for kind, share in shares.items() if share > MOST_GROWTH]

    @staticmethod
    def _left(before: Sample, after: Sample) -> list[str]:
        left = {"leases": after.leases, "client connections": after.clients, "bytes of requests not begun": after.early_bytes}
        left["tasks"] = max(0, after.tasks - before.tasks)
        left["descriptors"] = max(0, after.descriptors - before.descriptors - SPARE_DESCRIPTORS)
        return [f"{count} {what} are left" for what, count in left.items() if count]

    def _print_table(self, warm: list[Sample]) -> None:
        acts = sorted({act for act, _ in self.tally})
        for act in acts:
            outcomes = {outcome: count for (name, outcome), count in sorted(self.tally.items()) if name == act}
            print(f"{act:10}  " + "  ".join(f"{outcome} {count:,}" for outcome, count in outcomes.items()))
        assert self.before is not None
        assert self.after is not None
        for kind in self.before.rss:
            ends = f"{self.before.rss[kind]:.1f} before, {warm[0].rss[kind]:.1f} warm, {warm[-1].rss[kind]:.1f} last"
            print(f"{kind:12} MiB: {ends}, {self.after.rss[kind]:.1f} quiet; growth {growth(warm, kind):+.2%}")
        for what in ("descriptors", "tasks", "clients", "leases", "early_bytes"):
            most = max(getattr(sample, what) for sample in self.samples)
            print(f"{what:12} {getattr(self.before, what)} before, {most} at most, {getattr(self.after, what)} after")
        print(f"{sum(self.tally.values()):,} acts in {self.samples[-1].seconds:.0f} s, {self.kills} kills, {self.editions} edits")


async def up_and_ready(up: Up) -> None:
    """The apps that are always there are."""
    async with asyncio.timeout(60):
        while not (up.backends("steady") and up.backends("faulty")):  # noqa: ASYNC110 -- another process's file
            await asyncio.sleep(0.1)


def _is_pod(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(word.endswith("tests/soak/pod.py") for word in process.cmdline()[:6])
    return False


def _say(text: str) -> None:
    print(f"soak: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
