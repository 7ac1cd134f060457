"""Reads the ConfigMaps with bodies for answers, or with authorities: only those that objects refer to.

They are watched by their label; a ConfigMap that no object refers to is dropped before it is parsed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import msgspec

from controller.bodies import Absent, Bodies
from fleet.discovery.kubernetes.client import FETCHED_ALONE, Api, ApiError
from fleet.discovery.kubernetes.listwatch import Change, ListWatch, Timing
from fleet.discovery.kubernetes.objects import CONFIG_MAPS, ConfigMap, parse_config_map
from fleet.routing.kinds import is_name
from fleet.runtime.pauses import Pauses
from fleet.runtime.tasks import cancel_and_wait

__all__ = ["AUTHORITIES_LABEL", "LABEL", "MAX_KEPT_BYTES", "BodySource"]

LABEL = "http.keda.sh/response-body=true"
AUTHORITIES_LABEL = "http.keda.sh/ca-bundle=true"
MAX_KEPT_BYTES = 64 << 20
"""Maximum bytes of all ConfigMaps together: several times what fits into a routing table, as a bound on memory."""

_log = logging.getLogger(__name__)


class BodySource:
    """`on_change` is called when what they hold may have changed. Nothing is read before `want` names a ConfigMap."""

    def __init__(
        self,
        api: Api,
        namespaces: Collection[str],
        *,
        timing: Timing,
        on_change: Callable[[], None],
        label: str = LABEL,
    ) -> None:
        self._on_change = on_change
        self._label = label
        self._wanted: frozenset[str] = frozenset()
        self._looked: dict[str, str] = {}
        """What was fetched, and the error, or ""."""
        self._kept_bytes = 0
        self._refused: set[str] = set()
        """ConfigMaps for which there was no room."""
        self._complaint = ""
        self._maps: ListWatch[ConfigMap | Absent] = ListWatch(
            api,
            CONFIG_MAPS,
            self._parse,
            namespaces=namespaces,
            labels=label,
            keep=lambda head: head.key in self._wanted,
            timing=timing,
        )
        self._maps.subscribe(self._on_map)
        self._pauses = Pauses(timing.first_pause, timing.longest_pause)
        self._new: set[str] = set()
        self._some_new = asyncio.Event()
        self._all_looked = asyncio.Event()
        self._all_looked.set()
        self._task: asyncio.Task[None] | None = None

    def want(self, keys: Collection[str]) -> None:
        """Follow these ConfigMaps ("namespace/name") and no others."""
        before, self._wanted = self._wanted, frozenset(keys)
        for key in before - self._wanted:
            self._forget(key)
        new = self._wanted - before
        if not new:
            return
        if self._task is None:
            self._maps.start()
            self._task = asyncio.create_task(self._fetch_forever(), name="fetch bodies")
        self._ask(new)

    def bodies(self) -> Bodies:
        """The current state."""
        return {key: found for key in self._wanted if (found := self._get(key)) is not None}

    async def known(self, seconds: float) -> None:
        """Wait until every wanted ConfigMap was read or tried, at most `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._all_looked.wait()
        except TimeoutError:
            _log.warning("ConfigMaps with the label %s are not read after %g s", self._label, seconds)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await cancel_and_wait(task)
            await self._maps.close()

    def _get(self, key: str) -> ConfigMap | Absent | None:
        found = self._maps.get(key)
        if found is not None or key not in self._looked:
            return found
        failure = self._looked[key]
        return Absent(failure or f"there is none with the label {self._label.replace('=', ': ')}", temporary=bool(failure))

    def _parse(self, data: bytes | msgspec.Raw) -> ConfigMap | Absent:
        parsed = parse_config_map(data)
        if self._kept_bytes + _size(parsed) > MAX_KEPT_BYTES:
            return Absent(f"those of all objects together are more than {MAX_KEPT_BYTES} bytes")
        return parsed

    def _on_map(self, change: Change[ConfigMap | Absent]) -> None:
        if isinstance(change.after, Absent):
            self._refused.add(change.key)
        self._keep(_size(change.after) - _size(change.before))
        self._on_change()

    def _forget(self, key: str) -> None:
        self._looked.pop(key, None)
        self._new.discard(key)
        self._refused.discard(key)
        size = _size(self._maps.get(key))
        self._maps.discard(key)
        self._keep(-size)

    def _keep(self, more: int) -> None:
        self._kept_bytes += more
        if more < 0 and self._refused:
            refused, self._refused = self._refused & self._wanted, set()
            for key in refused:
                self._looked.pop(key, None)
                self._maps.discard(key)
            self._ask(refused)

    def _ask(self, keys: Collection[str]) -> None:
        self._new.update(keys)
        self._all_looked.clear()
        self._some_new.set()

    async def _fetch_forever(self) -> None:
        while True:
            await self._some_new.wait()
            self._some_new.clear()
            new, self._new = self._new, set()
            try:
                await self._fetch(new)
            except ApiError as error:
                self._complain(str(error))
                self._look_over(new, str(error))
                await asyncio.sleep(self._pauses.next(error.retry_after))
                self._ask(new & self._wanted)
            else:
                self._pauses.reset()
                self._complaint = ""
                self._look_over(new, "")

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            _log.warning("%s; the ConfigMaps with the label %s are asked for again", why, self._label)
        self._complaint = why

    async def _fetch(self, keys: Collection[str]) -> None:
        if len(keys) > FETCHED_ALONE:
            await self._maps.relist()
            return
        for key in sorted(keys):
            namespace, _, name = key.partition("/")
            if not is_name(name):  # there is none, and what it is a selector of is nobody's business
                continue
            await self._maps.fetch(namespace, labels=self._label, fields=f"metadata.name={name}")

    def _look_over(self, keys: Collection[str], failure: str) -> None:
        self._looked.update(dict.fromkeys(self._wanted.intersection(keys), failure))
        if not self._new:
            self._all_looked.set()
        self._on_change()


def _size(found: ConfigMap | Absent | None) -> int:
    """Characters, as an estimate of the memory used."""
    if not isinstance(found, ConfigMap):
        return 0
    return sum(map(len, found.data.values())) + sum(map(len, found.binary_data.values()))
