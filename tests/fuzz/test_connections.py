"""Mutated streams through whole connections in memory: every one ends answered, refused or waiting, with nothing left over."""

from __future__ import annotations

from random import Random

from tests.fuzz.mutate import mutants, pieces
from tests.fuzz.test_heads import BODY_SEEDS, REQUEST_SEEDS, RESPONSE_SEEDS
from tests.support.judge import agreed_requests
from tests.support.proxy_memory import MemoryProxy
from tests.support.raw_requests import get
from tests.support.strict_reader import read_response

CLIENT_STREAMS = 4000
BACKEND_STREAMS = 4000

CHUNKED = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_clients() -> None:
    """Whatever a client sends: backends get requests that have one meaning, answers are strict, and leaving ends everything."""
    rng = Random(4)
    seeds = [*REQUEST_SEEDS, *(CHUNKED + body for body in BODY_SEEDS)]
    answered = 0
    for mutant in mutants(4, seeds, CLIENT_STREAMS):
        data = mutant.replace(b"HEAD ", b"GET ")  # so that an answer can be read without knowing to what
        memory = MemoryProxy(connections=6)
        client = memory.connect()
        await memory.deliver(client, pieces(rng, data))
        for backend in memory.backends:
            if agreed_requests(bytes(backend.written)):
                await memory.deliver(backend, [b"HTTP/1.1 204 No Content\r\n\r\n"])
        sent = bytes(client.written)
        while sent:
            found = read_response(sent, closed=True)
            assert found is not None, data
            message, sent = found
            answered += message.status == 204
        client.close()
        await memory.turn()
        assert memory.ledger.balanced(), data
        assert memory.endpoint.load == 0, data
        assert not memory.proxy.clients
        for backend in memory.backends:
            agreed_requests(bytes(backend.written))
    assert answered > CLIENT_STREAMS / 50


async def test_backends() -> None:
    """Whatever a backend answers: its client gets a strict beginning of a response, and the next client is not disturbed."""
    rng = Random(5)
    seeds = [*(head + b"hello" for head in RESPONSE_SEEDS), *(CHUNKED_ANSWER + body for body in BODY_SEEDS)]
    for data in mutants(5, seeds, BACKEND_STREAMS):
        memory = MemoryProxy(connections=6)
        client = memory.connect()
        await memory.deliver(client, [get(b"/first", method=b"POST")])
        await memory.deliver(memory.backends[0], pieces(rng, data))
        memory.backends[0].feed_eof()
        await memory.turn()
        if client.written:
            read_response(bytes(client.written), b"POST", closed=client.closing)
        other = memory.connect()
        fresh = next(backend for backend in memory.backends if not backend.written)
        await memory.deliver(other, [get(b"/second")])
        assert b"/second" in fresh.written
        await memory.deliver(fresh, [b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nfresh"])
        assert (
            other.written == b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nX-KEDA-HTTP-Cold-Start: false\r\n\r\nfresh"
        ), data
        client.close()
        other.close()
        await memory.turn()
        assert memory.ledger.balanced(), data
        assert memory.endpoint.load == 0, data


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
