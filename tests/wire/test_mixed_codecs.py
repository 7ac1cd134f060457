"""Clients of one protocol in front of backends of another: framing, trailers, interim answers, upgrades, lengths."""

from __future__ import annotations

import asyncio

import pytest

from interceptor.http1.client import ClientConnection
from tests.support.loopback import APP
from tests.wire.test_second_codec import Stage, stage

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def test_a_request_in_chunks_goes_on_as_lines_with_its_trailers() -> None:
    taken = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        while not (more := await reader.readline()).startswith(b"."):
            taken.append(more)
        taken.append(more)
        writer.write(b"200 kind=a\n>one\n>two\n. checksum=7 content-length=1\n")
        return True

    async with stage() as made:
        await made.up(take)
        reader, writer = await made.client(ClientConnection)
        for _ in range(2):  # the connections to both sides go on
            writer.write(b"POST /p HTTP/1.1\r\nHost: a.test\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
            await asyncio.sleep(0)
            writer.write(b"4;x=y\r\ntwo\n\r\n0\r\nSum: 9\r\nHost: b\r\n\r\n")
            answer = await reader.readuntil(b"0\r\nchecksum: 7\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\nkind: a\r\n")
            assert b"\r\nTransfer-Encoding: chunked" in head
            assert body == b"4\r\none\n\r\n4\r\ntwo\n\r\n0\r\nchecksum: 7\r\n\r\n"
            assert taken == [b">one\n", b">two\n", b". sum=9\n"]
            taken.clear()
        line = b"POST a.test /p x-a=b x-forwarded-for=127.0.0.1 x-forwarded-proto=http x-forwarded-host=a.test\n"
        assert made.asked == [line, line]


async def test_a_client_of_http_1_0_gets_the_content_and_the_end_of_its_connection() -> None:
    async with stage() as made:
        await made.up()
        reader, writer = await made.client(ClientConnection)
        writer.write(b"GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert body.startswith(b"GET a.test /old ")


async def test_an_upgrade_is_carried_from_one_protocol_to_the_other() -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"100\n101 upgrade=shout\nhello ")
        while data := await reader.read(100):
            writer.write(data.upper())
        return False

    async with stage() as made:
        await made.up(switch)
        reader, writer = await made.client(ClientConnection)
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert b"\r\nUpgrade: shout\r\nConnection: upgrade\r\n" in head
        assert await reader.readexactly(6) == b"hello "
        writer.write(b"you")
        assert await reader.readexactly(3) == b"YOU"


async def _read_request(reader: asyncio.StreamReader, line: bytes) -> bytes:
    head = line + await reader.readuntil(b"\r\n\r\n")
    if b"chunked" not in head:
        return head
    return head + await reader.readuntil(b"0\r\n") + await reader.readuntil(b"\r\n\r\n")


async def _lines_to_http1(made: Stage, answer: bytes, *, end: bool = False) -> Streams:
    async def http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        made.asked.append(await _read_request(reader, line))
        writer.write(answer)
        return not end

    await made.up(http1, None)
    return await made.client()


async def test_a_body_of_unknown_length_is_sent_to_http_1_in_chunks() -> None:
    async with stage() as made:
        reader, writer = await _lines_to_http1(
            made, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n0\r\nSum: 3\r\n\r\n"
        )
        writer.write(b"POST a.test /p x-a=b\n>one\n")
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b">two\n. checksum=1\n")
        assert (await reader.readline()).startswith(b"200 date=")
        assert await reader.readuntil(b"sum=3\n") == b">one\n. sum=3\n"
        request = made.asked[-1]
        assert request.startswith(b"POST /p HTTP/1.1\r\nHost: a.test\r\nx-a: b\r\nx-forwarded-for: ")
        assert request.endswith(b"Transfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n0\r\nchecksum: 1\r\n\r\n")
        writer.write(b"GET a.test /next .\n")
        await reader.readuntil(b"sum=3\n")
        assert made.asked[-1].startswith(b"GET /next HTTP/1.1\r\n")
        assert b"chunked" not in made.asked[-1]


async def test_answers_of_http_1_with_a_length_or_without_go_on_as_lines() -> None:
    large = b"x" * 999 + b"\n"
    async with stage() as made:
        reader, writer = await _lines_to_http1(made, b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + large * 200)
        writer.write(b"GET a.test / .\n")
        assert b"content-length=200000" in await reader.readline()
        body = b""
        while (line := await reader.readline()) != b".\n":
            body += line.removeprefix(b">").rstrip(b"\n")  # a line that was read in two parts goes on as two
        assert body == b"x" * 999 * 200
    async with stage() as made:
        reader, writer = await _lines_to_http1(made, b"HTTP/1.1 200 OK\r\n\r\nbye\n", end=True)
        writer.write(b"GET a.test / .\n")
        await reader.readline()
        assert await reader.readuntil(b"\n.\n") == b">bye\n.\n"


async def test_a_retry_sends_the_body_and_its_trailers_again() -> None:
    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        made.asked.append(await _read_request(reader, line))
        if len(made.asked) == 2:
            return False
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True

    async with stage() as made:
        await made.up(lose, None)
        reader, writer = await made.client()
        writer.write(b"PUT a.test /p\n>one\n. checksum=1\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"204 ")
        first, second = made.asked[1], made.asked[3]
        assert first == second
        assert first.endswith(b"\r\n\r\n4\r\none\n\r\n0\r\nchecksum: 1\r\n\r\n")


async def test_a_response_never_has_more_than_its_announced_length() -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"200 content-length=4\n>one\n>HTTP/1.1 200 OK\n>x\n.\n")
        return True

    async with stage() as made:
        await made.up(long)
        reader, writer = await made.client(ClientConnection)
        for _ in range(3):
            writer.write(b"GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n")
            assert await reader.readexactly(4) == b"one\n"
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_response_that_is_shorter_than_announced_does_not_look_complete() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        writer.write(b"200 content-length=100\n>one\n.\n")
        return True

    async with stage() as made:
        await made.up(short)
        reader, writer = await made.client(ClientConnection)
        writer.write(b"GET /p HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await reader.readexactly(100)


@pytest.mark.parametrize(("method", "line"), [(b"GET", b"204"), (b"GET", b"304"), (b"HEAD", b"200"), (b"HEAD", b"404")])
async def test_a_response_without_content_has_none(method: bytes, line: bytes) -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
        writer.write(line + b"\n>HTTP/1.1 200 OK\n.\n")
        return True

    async with stage() as made:
        await made.up(chatty)
        reader, writer = await made.client(ClientConnection)
        for _ in range(2):
            writer.write(method + b" /p HTTP/1.1\r\nHost: a.test\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + line)
            assert b"chunked" not in head
        writer.write_eof()
        assert await reader.read() == b""


async def test_a_request_never_has_more_than_its_announced_length() -> None:
    async def counts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        made.asked.append(line + await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True

    async with stage() as made:
        await made.up(counts, None)
        reader, writer = await made.client()
        for _ in range(2):
            writer.write(b"POST a.test /p content-length=4\n>one\n>GET /smuggled HTTP/1.1\n.\n")
            assert (await reader.readuntil(b"\n.\n")).startswith(b"204 ")
        assert [one[:10] for one in made.asked] == [b"POST /p HT"] * 4
        assert made.asked[-1].endswith(b"\r\n\r\none\n")


async def test_what_cannot_be_said_in_http_1_is_refused_and_nothing_hangs() -> None:
    async def ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bool:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        return True

    async with stage() as made:
        await made.up(ok, None)
        reader, writer = await made.client()
        for warm in range(2):
            writer.write(b"GET a.test /p transfer-encoding=chunked .\n")
            assert (await reader.readuntil(b"\n.\n")).startswith(b"502\n")
            writer.write(b"GET a.test /p%d x=y .\n" % warm)
            assert (await reader.readuntil(b"\n.\n")).startswith(b"204 ")
        assert made.proxy.apps[APP].entry.in_flight == 0


async def test_a_trailer_that_cannot_be_written_leaves_no_body_without_its_end() -> None:
    async with stage() as made:
        reader, writer = await _lines_to_http1(made, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.write(b"POST a.test /p\n>one\n. a:b=1 sum=2\n")
        assert (await reader.readuntil(b"\n.\n")).startswith(b"200 ")
        assert made.asked[-1].endswith(b"4\r\none\n\r\n0\r\nsum: 2\r\n\r\n")
