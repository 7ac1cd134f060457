"""gRPC server reflection that also finds methods: ghz asks for "package.Service.Method", which protobuf's pool does not
resolve."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection

__all__ = ["enable_reflection"]


class _MethodPool:
    """The default pool, which also resolves a method to the file of its service."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 -- protobuf's name
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindServiceByName(symbol.rpartition(".")[0]).file


def enable_reflection(names: Sequence[str], server: grpc.aio.Server) -> None:
    """Enable reflection for the services in `names`."""
    pool = _MethodPool(descriptor_pool.Default())
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server, pool=pool)  # type: ignore[arg-type]
