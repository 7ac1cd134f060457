"""Where the leases are found that applications have asked for by a call: in a file, or in a ConfigMap. An absent one has none."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from fleet.defaults import RESYNC_SECONDS
from fleet.demand.busy import Leases, decode_leases, encode_leases
from fleet.discovery.files import FollowedFile, replace_file
from fleet.discovery.sources import SourceError, Unsubscribe
from fleet.discovery.subscribers import Subscribers

if TYPE_CHECKING:
    from fleet.discovery.kubernetes.client import Api
    from fleet.discovery.kubernetes.listwatch import Change
    from fleet.discovery.kubernetes.objects import ConfigMap

__all__ = ["FIELD", "BusySource", "ConfigMapBusy", "FileBusy", "NoBusy", "open_busy", "write_busy"]

FIELD: Final = "leases.json"
"""The key of the ConfigMap that has the document."""
_CONFIG_MAP: Final = re.compile(r"configmap:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)/([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)")

_log = logging.getLogger(__name__)


class BusySource(Protocol):
    """The current leases, including some that have ended."""

    @property
    def current(self) -> Leases: ...

    def subscribe(self, on_change: Callable[[Leases], None]) -> Unsubscribe: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class _Leases:
    """What every source has."""

    def __init__(self) -> None:
        self._leases: Leases = {}
        self._subscribers = Subscribers[Leases]()

    @property
    def current(self) -> Leases:
        return self._leases

    def subscribe(self, on_change: Callable[[Leases], None]) -> Unsubscribe:
        return self._subscribers.add(on_change)

    def _on_leases(self, leases: Leases) -> None:
        if leases != self._leases:
            self._leases = leases
            self._subscribers.tell(leases)


class NoBusy(_Leases):
    """No source is set: there are no such leases."""

    async def start(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""


class FileBusy(_Leases):
    """A file, which its writer replaces as a whole."""

    def __init__(self, path: str | Path, resync: float) -> None:
        super().__init__()
        self._file = FollowedFile(Path(path), decode_leases, self._on_leases, resync)

    async def start(self) -> None:
        await self._file.start()

    async def close(self) -> None:
        await self._file.close()


class ConfigMapBusy(_Leases):
    """A ConfigMap. `own` is whether the API client is closed with it."""

    def __init__(self, api: Api, namespace: str, name: str, *, resync: float, own: bool = False) -> None:
        from fleet.discovery.kubernetes import listwatch, objects  # noqa: PLC0415

        super().__init__()
        self._api = api if own else None
        self._key = f"{namespace}/{name}"
        self._maps = listwatch.ListWatch(
            api,
            objects.CONFIG_MAPS,
            objects.parse_config_map,
            namespaces=(namespace,),
            fields=f"metadata.name={name}",
            timing=listwatch.Timing(resync=resync),
        )
        self._maps.subscribe(self._on_change)

    async def start(self) -> None:
        """Start to watch; there may be no such ConfigMap yet, and it is not waited for."""
        self._maps.start()

    async def close(self) -> None:
        await self._maps.close()
        if self._api is not None:
            await self._api.close()

    def _on_change(self, change: Change[ConfigMap]) -> None:
        if change.key != self._key:
            return
        try:
            self._on_leases({} if change.after is None else decode_leases(change.after.data.get(FIELD, "{}")))
        except ValueError as error:
            _log.warning("configmap %s: %s; the last good one stays", self._key, " ".join(str(error).split()))


def open_busy(uri: str, *, resync: float = RESYNC_SECONDS) -> BusySource:
    """The source for "file:PATH", "configmap:NAMESPACE/NAME" or "", which is none. Raises SourceError for another form."""
    if not uri:
        return NoBusy()
    if uri.startswith("file:") and len(uri) > len("file:"):
        return FileBusy(uri.removeprefix("file:"), resync)
    match = _CONFIG_MAP.fullmatch(uri)
    if match is None:
        raise SourceError(f'busy: {uri!r} is neither "file:PATH" nor "configmap:NAMESPACE/NAME"')
    from fleet.discovery.kubernetes import client  # noqa: PLC0415

    client.check_credentials()
    return ConfigMapBusy(client.open_api(), *match.groups(), resync=resync, own=True)


def write_busy(path: str | Path, leases: Leases) -> bool:
    """Replace the file. Returns False, and writes nothing, when the content is the same. Raises SourceError."""
    return replace_file(Path(path), encode_leases(leases))
