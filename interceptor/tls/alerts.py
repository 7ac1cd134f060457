"""Keeps the alert of a handshake that fails on our side, which says to the client why (RFC 8446 6.2): event loops drop it."""

from __future__ import annotations

import ssl
from typing import Any, cast

__all__ = ["Failed", "ServerContext"]


class Failed(ssl.SSLError):
    """A handshake has failed."""

    alert = b""
    """The alert record to send to the client."""


class _Server(ssl.SSLObject):
    """The server's side of one connection."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        if not self.incoming.pending:  # event loops try before the client's first bytes; OpenSSL would take longer to say this
            raise ssl.SSLWantReadError
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            failed = Failed(*error.args)
            failed.reason, failed.alert = error.reason, self.outgoing.read()
            raise failed from error


class ServerContext(ssl.SSLContext):
    """A context whose handshakes raise `Failed`."""

    sslobject_class = _Server

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **options: Any) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *args, **options)
        server = cast("_Server", made)
        server.incoming, server.outgoing = incoming, outgoing
        return made
