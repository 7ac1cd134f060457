"""Channels to the fleet's RPC servers, with certificates that are reloaded when their files change.

A channel keeps the certificates with which it was opened. Its owner subscribes to changes, and then opens a new channel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

from fleet.defaults import RESYNC_OF_FILES_SECONDS
from fleet.runtime.rpc import CHANNEL_OPTIONS
from fleet.runtime.tasks import cancel_and_wait
from fleet.runtime.tls import Material, TlsError, TlsFiles
from fleet.runtime.watch import FileWatch

__all__ = ["ChannelFactory"]

_log = logging.getLogger(__name__)


class ChannelFactory:
    """Opens channels; in plain text without `tls`.

    `server_name` is the name to expect in the servers' certificates, because members are dialled by address.
    """

    def __init__(
        self, tls: TlsFiles | None = None, *, server_name: str | None = None, resync: float = RESYNC_OF_FILES_SECONDS
    ) -> None:
        self._tls = tls
        self._options: tuple[tuple[str, int | str], ...] = CHANNEL_OPTIONS
        if server_name is not None:
            self._options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", server_name))
        self._resync = resync
        self._material: Material | None = None
        self._complaint: str | None = None
        self._on_change: dict[object, Callable[[], None]] = {}
        self._watch: FileWatch | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the certificates and start to watch them. Raises TlsError."""
        if self._tls is None:
            return
        self._watch = FileWatch(self._tls.paths)
        self._watch.start()
        try:
            self._material = self._tls.read()
        except TlsError:
            await self.close()
            raise
        self._task = asyncio.create_task(self._follow(self._tls, self._watch), name=f"tls:{self._tls.cert.name}")

    async def close(self) -> None:
        """Stop watching. Open channels belong to their owners."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.close()

    def open(self, address: str) -> grpc.aio.Channel:
        """A channel to "host:port". The caller closes it."""
        if self._tls is None:
            return grpc.aio.insecure_channel(address, options=self._options)
        if self._material is None:
            raise RuntimeError("the factory was not started")
        held = self._material
        credentials = grpc.ssl_channel_credentials(held.ca, private_key=held.key, certificate_chain=held.cert)
        return grpc.aio.secure_channel(address, credentials, options=self._options)

    def subscribe(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Call on_change when new channels would have other certificates. Returns the function that ends the subscription."""
        token = object()
        self._on_change[token] = on_change
        return lambda: self._drop(token)

    def _drop(self, token: object) -> None:
        self._on_change.pop(token, None)

    async def _follow(self, tls: TlsFiles, watch: FileWatch) -> None:
        while True:
            await watch.wait(self._resync)
            self._reread(tls)

    def _reread(self, tls: TlsFiles) -> None:
        try:
            material = tls.read()
        except TlsError as error:
            self._complain(str(error))
            return
        self._complaint = None
        if material != self._material:
            self._material = material
            _log.info("certificates reloaded from %s", tls.cert)
            for on_change in tuple(self._on_change.values()):
                on_change()

    def _complain(self, why: str) -> None:
        if why != self._complaint:
            _log.warning("certificates not reloaded, the last good ones stay: %s", why)
        self._complaint = why
