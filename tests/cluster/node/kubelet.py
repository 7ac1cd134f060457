"""The part of a kubelet that the API server calls: port-forwards to pods, by the protocol v4.channel.k8s.io.

Each port has two channels, for data and for errors, and the first message of a channel is its port.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from tests.cluster.network import NODE_ADDRESS
from tests.cluster.pki import Authority

__all__ = ["KUBELET_PORT", "serve_kubelet"]

KUBELET_PORT = 10250
PIECE = 64 << 10

AddressOf = Callable[[str, str], str | None]
"""The address of a pod that runs, by its namespace and its name."""


async def serve_kubelet(directory: Path, address_of: AddressOf) -> None:
    """Serve until cancelled. Like an API server with its default settings, nobody checks the certificate."""

    async def forward(request: web.Request) -> web.StreamResponse:
        address = address_of(request.match_info["namespace"], request.match_info["pod"])
        if address is None:
            return web.Response(status=404, text="there is no such pod")
        port = int(request.query["port"])
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        for channel in (b"\x00", b"\x01"):
            await socket.send_bytes(channel + port.to_bytes(2, "little"))
        await _relay(socket, address, port)
        return socket

    app = web.Application()
    app.add_routes([web.get("/portForward/{namespace}/{pod}", forward)])
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, NODE_ADDRESS, KUBELET_PORT, ssl_context=_certified(directory)).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _relay(socket: web.WebSocketResponse, address: str, port: int) -> None:
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        await socket.send_bytes(b"\x01" + str(error).encode())
        return
    back = asyncio.create_task(_back(reader, socket))
    try:
        async for message in socket:
            if message.type == WSMsgType.BINARY and message.data[:1] == b"\x00":
                writer.write(message.data[1:])
                await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
        back.cancel()
        await asyncio.wait([back])


async def _back(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    while piece := await reader.read(PIECE):
        await socket.send_bytes(b"\x00" + piece)
    await socket.close()


def _certified(directory: Path) -> ssl.SSLContext:
    place = directory / "kubelet"
    place.mkdir(exist_ok=True)  # it is started anew after an error
    tls = Authority.create(place, "kubelet-ca").issue("kubelet", hosts=[NODE_ADDRESS])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    return context
