"""Requests by which one request has been made to look like two, or two like one, and what must become of each.

Written from RFC 9110, RFC 9112 and public advisories and papers on request smuggling (CL.TE, TE.CL, TE.TE, TE.0, 0.CL, chunk
extensions, h2c upgrades, bare line ends, ...). `expect` lists what the client legitimately sent before anything is wrong:
exactly these may reach a backend. `refused` says that the connection must end with an error after them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CASES", "SMUGGLED", "Case", "Sent"]

Sent = tuple[bytes, bytes, bytes]
"""Method, target and body of a request."""

HEAD = b"Host: a.test\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
"""What an attacker wants a backend to see. In a case where the client may send it, it is listed in `expect`."""


@dataclass(frozen=True)
class Case:
    name: str
    wire: bytes
    expect: tuple[Sent, ...] = ()
    refused: bool = True


def _fields(name: str, *fields: bytes, body: bytes = b"0\r\n\r\n" + SMUGGLED) -> Case:
    """A POST with these fields: refused before a byte of it goes on."""
    return Case(name, b"POST / HTTP/1.1\r\n" + HEAD + b"\r\n".join(fields) + b"\r\n\r\n" + body)


def _line(name: str, line: bytes, *, host: bytes = HEAD) -> Case:
    return Case(name, line + b"\r\n" + host + b"\r\n" + SMUGGLED)


def _host(name: str, *hosts: bytes) -> Case:
    return Case(name, b"GET / HTTP/1.1\r\n" + b"".join(hosts) + b"\r\n" + SMUGGLED)


def _chunks(name: str, body: bytes) -> Case:
    """A chunked body that is no such thing: the backend may see its beginning, never its end."""
    return Case("chunks: " + name, b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED)


def _sent(
    name: str,
    line: bytes,
    fields: bytes = b"",
    body: bytes = b"",
    *,
    expect: tuple[Sent, ...],
    host: bytes = HEAD,
    refused: bool = False,
) -> Case:
    """A request that is in order, and what follows it; `fields` with their line ends."""
    return Case(name, line + b"\r\n" + host + fields + b"\r\n" + body, expect, refused)


TE = b"Transfer-Encoding: chunked"
GET = (b"GET", b"/", b"")
NEXT = (b"GET", b"/smuggled", b"")
POST5 = (b"POST", b"/", b"hello")

_FRAMING = [
    _fields("CL.TE", b"Content-Length: 45", TE),
    _fields("TE.CL", TE, b"Content-Length: 4", body=b"2c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
    _fields("CL.TE with a zero length", b"Content-Length: 0", TE),
    _fields("CL.TE, other case", b"content-LENGTH: 4", b"TRANSFER-encoding: cHuNkEd"),
    _fields("TE.TE: twice", TE, TE),
    _fields("TE.TE: chunked, then identity", TE, b"Transfer-Encoding: identity"),
    _fields("TE.TE: identity, then chunked", b"Transfer-Encoding: identity", TE),
    _fields("TE.TE: list with chunked last", b"Transfer-Encoding: identity, chunked"),
    _fields("TE.TE: list with chunked first", b"Transfer-Encoding: chunked, identity"),
    _fields("TE.TE: chunked twice in a list", b"Transfer-Encoding: chunked, chunked"),
    _fields("TE: gzip, chunked", b"Transfer-Encoding: gzip, chunked"),
    _fields("TE: empty element", b"Transfer-Encoding: , chunked"),
    _fields("TE: empty element after", b"Transfer-Encoding: chunked,"),
    _fields("TE: empty", b"Transfer-Encoding:", b"Content-Length: 4"),
    _fields("TE: empty alone", b"Transfer-Encoding: "),
    _fields("TE: xchunked", b"Transfer-Encoding: xchunked"),
    _fields("TE: chunkedx", b"Transfer-Encoding: chunkedx"),
    _fields("TE: quoted", b'Transfer-Encoding: "chunked"'),
    _fields("TE: quoted with ticks", b"Transfer-Encoding: 'chunked'"),
    _fields("TE: parameter", b"Transfer-Encoding: chunked;q=1"),
    _fields("TE: identity", b"Transfer-Encoding: identity", b"Content-Length: 5"),
    _fields("TE: vertical tab before", b"Transfer-Encoding: \x0bchunked"),
    _fields("TE: form feed after", b"Transfer-Encoding: chunked\x0c"),
    _fields("TE: NUL after", b"Transfer-Encoding: chunked\x00"),
    _fields("TE: non-ASCII blank", b"Transfer-Encoding: \xa0chunked"),
    _fields("TE: bare CR after", b"Transfer-Encoding: chunked\r"),
    _fields("TE: space before colon", b"Transfer-Encoding : chunked"),
    _fields("TE: tab before colon", b"Transfer-Encoding\t: chunked"),
    _fields("TE: NUL in the name", b"Transfer-\x00Encoding: chunked"),
    _fields("TE: leading space on the line", b" Transfer-Encoding: chunked"),
    _fields("TE: behind a bare LF", b"X: x\nTransfer-Encoding: chunked"),
    _fields("TE: behind a bare CR", b"X: x\rTransfer-Encoding: chunked"),
    _fields("TE: value on the next line", b"Transfer-Encoding:\r\n chunked"),
    _fields("TE: value behind a bare LF", b"Transfer-Encoding:\n chunked"),
    _fields("TE: folded to another value", b"Transfer-Encoding: chunked\r\n\t, identity"),
    Case("TE in HTTP/1.0", b"POST / HTTP/1.0\r\n" + HEAD + b"Connection: keep-alive\r\n" + TE + b"\r\n\r\n0\r\n\r\n" + SMUGGLED),
    _fields("CL: twice, equal", b"Content-Length: 5", b"Content-Length: 5"),
    _fields("CL: twice, different", b"Content-Length: 0", b"Content-Length: 45"),
    _fields("CL: list, equal", b"Content-Length: 5, 5"),
    _fields("CL: list, different", b"Content-Length: 0, 45"),
    _fields("CL: plus", b"Content-Length: +5"),
    _fields("CL: minus", b"Content-Length: -5"),
    _fields("CL: minus nought", b"Content-Length: -0"),
    _fields("CL: hexadecimal", b"Content-Length: 0x5"),
    _fields("CL: digits of hexadecimal", b"Content-Length: a"),
    _fields("CL: underscore", b"Content-Length: 1_0"),
    _fields("CL: fraction", b"Content-Length: 5.0"),
    _fields("CL: exponent", b"Content-Length: 5e0"),
    _fields("CL: two numbers", b"Content-Length: 5 45"),
    _fields("CL: semicolon", b"Content-Length: 5;"),
    _fields("CL: empty", b"Content-Length: "),
    _fields("CL: quoted", b'Content-Length: "5"'),
    _fields("CL: Arabic digit", "Content-Length: \u0665".encode()),
    _fields("CL: superscript in Latin-1", b"Content-Length: \xb2"),
    _fields("CL: 2**63", b"Content-Length: 9223372036854775808"),
    _fields("CL: 2**64", b"Content-Length: 18446744073709551616"),
    _fields("CL: 2**64 + 5", b"Content-Length: 18446744073709551621"),
    _fields("CL: forty digits", b"Content-Length: " + b"0" * 39 + b"5"),
    _fields("CL: space before colon", b"Content-Length : 45"),
    _fields("CL: vertical tab", b"Content-Length: \x0b45"),
    _fields("CL: folded", b"Content-Length:\r\n 45"),
    _fields("CL: digits folded", b"Content-Length: 4\r\n 5"),
    _fields("CL: NUL after", b"Content-Length: 45\x00"),
    _fields("Expect: something else", b"Expect: 200-maybe", b"Content-Length: 4"),
    _fields("Expect: twice", b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 4"),
    _fields("Expect: list", b"Expect: 100-continue, 100-continue", b"Content-Length: 4"),
]

_LINES = [
    Case("bare LF everywhere", b"GET / HTTP/1.1\nHost: a.test\n\n" + SMUGGLED),
    Case("bare LF after the request line", b"GET / HTTP/1.1\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case("bare LF ends the head", b"GET / HTTP/1.1\r\nHost: a.test\r\n\n" + SMUGGLED),
    Case("bare LF between fields", b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n" + SMUGGLED),
    Case("bare CR after the request line", b"GET / HTTP/1.1\rHost: a.test\r\n\r\n" + SMUGGLED),
    Case("bare CR in a value", b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\rY: b\r\n\r\n" + SMUGGLED),
    Case("CR CR LF", b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\r\r\n\r\n" + SMUGGLED),
    Case("CR CR LF ends the head", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\r\n" + SMUGGLED),
    _fields("obs-fold with a space", b"X: a", b" b: c"),
    _fields("obs-fold with a tab", b"X: a", b"\tb"),
    _fields("obs-fold of blanks only", b"X: a", b"  "),
    Case("blank before the first field", b"GET / HTTP/1.1\r\n Host: a.test\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    _fields("space before the colon", b"X : y"),
    _fields("no colon", b"X"),
    _fields("no name", b": y"),
    _fields("NUL in a value", b"X: a\x00b"),
    _fields("DEL in a value", b"X: a\x7fb"),
    _fields("control character in a value", b"X: a\x01b"),
    _fields("NUL in a name", b"X\x00: a"),
    _fields("non-ASCII name", b"X\xe9: a"),
    _fields("separator in a name", b"X(y): a"),
    _line("HTTP/0.9", b"GET /", host=b""),
    _line("HTTP/0.9 with fields", b"GET /"),
    _line("HTTP/0.9 by name", b"GET / HTTP/0.9"),
    _line("HTTP/1.10", b"GET / HTTP/1.10"),
    _line("HTTP/1.", b"GET / HTTP/1."),
    _line("HTTP/01.1", b"GET / HTTP/01.1"),
    _line("HTTP/2.0", b"GET / HTTP/2.0"),
    _line("http/1.1", b"GET / http/1.1"),
    _line("HTTPS/1.1", b"GET / HTTPS/1.1"),
    _line("RTSP/1.0", b"GET / RTSP/1.0"),
    _line("ICE/1.0", b"SOURCE / ICE/1.0"),
    _line("two versions", b"GET / HTTP/1.0 HTTP/1.1"),
    _line("blank after the version", b"GET / HTTP/1.1 "),
    _line("two blanks before the target", b"GET  / HTTP/1.1"),
    _line("two blanks after the target", b"GET /  HTTP/1.1"),
    _line("tab for a blank", b"GET\t/\tHTTP/1.1"),
    _line("blank before the method", b" GET / HTTP/1.1"),
    _line("blank in the target", b"GET /a b HTTP/1.1"),
    _line("NUL in the target", b"GET /a\x00b HTTP/1.1"),
    _line("non-ASCII target", b"GET /\xff HTTP/1.1"),
    _line("fragment", b"GET /#a HTTP/1.1"),
    _line("no target", b"GET HTTP/1.1"),
    _line("LF in the target", b"GET /metrics\nX: HTTP/1.1"),
    _line("LF in the query", b"GET /?a\nX: HTTP/1.1"),
    _line("LF in a URL", b"GET http://a.test/\nX: HTTP/1.1"),
    _line("LF after the method", b"GET\n/ HTTP/1.1"),
    _line("LF before the version", b"GET / \nHTTP/1.1"),
    _line("CR in the target", b"GET /metrics\rX: HTTP/1.1"),
    _line("tab in the target", b"GET /a\tb HTTP/1.1"),
    _line("form feed in the target", b"GET /a\x0cb HTTP/1.1"),
    _line("vertical tab in the target", b"GET /a\x0bb HTTP/1.1"),
    _line("DEL in the target", b"GET /a\x7fb HTTP/1.1"),
    _line("no-break space in the target", b"GET /a\xa0b HTTP/1.1"),
    _line("empty target", b"GET  HTTP/1.1"),
    _line("target is a host", b"GET a.test HTTP/1.1"),
    _line("target with userinfo", b"GET @other.test/ HTTP/1.1"),
    _line("asterisk without OPTIONS", b"GET * HTTP/1.1"),
    _line("CONNECT", b"CONNECT a.test:80 HTTP/1.1"),
    _line("CONNECT to a path", b"CONNECT / HTTP/1.1"),
    _line("PRI", b"PRI / HTTP/1.1"),
    _line("method that is no token", b"GE(T / HTTP/1.1"),
    _line("method with a NUL", b"GE\x00T / HTTP/1.1"),
    Case("LF first", b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case("LF before HEAD", b"\nHEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case("LF before CONNECT", b"\nCONNECT / HTTP/1.1\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case("CR LF LF first", b"\r\n\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case("CR first", b"\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n" + SMUGGLED),
    Case(
        "HTTP/2 preface after a request",
        b"GET / HTTP/1.1\r\n" + HEAD + b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
        expect=(GET,),
    ),
    Case("a preface of HTTP/2 in part", b"PRI * HTTP/2.0\r\nSM\r\n\r\n" + SMUGGLED),
    Case("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n" + SMUGGLED),
    Case("SOCKS", b"\x05\x01\x00\r\n\r\n" + SMUGGLED),
    Case("PROXY protocol", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + SMUGGLED),
    _host("no Host"),
    _host("two Hosts, equal", HEAD, HEAD),
    _host("two Hosts", HEAD, b"Host: other.test\r\n"),
    _host("two Hosts, one misspelt", HEAD, b"Host : other.test\r\n"),
    _host("two Hosts in a list", b"Host: a.test, other.test\r\n"),
    _host("Host that is empty", b"Host:\r\n"),
    _host("Host of blanks", b"Host: \t \r\n"),
    _host("Host with a port only", b"Host: :80\r\n"),
    _host("Host with a blank", b"Host: a.test other.test\r\n"),
    _host("Host with userinfo", b"Host: other.test@a.test\r\n"),
    _host("Host with a path", b"Host: a.test/other\r\n"),
    _host("Host with a query", b"Host: a.test?other\r\n"),
    _host("Host with two ports", b"Host: a.test:80:81\r\n"),
    _host("Host with a port that is none", b"Host: a.test:x\r\n"),
    _host("Host with a URL", b"Host: http://a.test\r\n"),
    _host("Host with a backslash", b"Host: a.test\\other\r\n"),
    _host("Host with a NUL", b"Host: a.test\x00\r\n"),
    _host("Host folded", b"Host: a.test\r\n other.test\r\n"),
    _line("absolute form with userinfo", b"GET http://other.test@a.test/ HTTP/1.1"),
    _line("absolute form without host", b"GET http:///a HTTP/1.1"),
    _line("absolute form with a list", b"GET http://a.test,b/ HTTP/1.1"),
    _line("absolute form of another scheme", b"GET gopher://a.test/ HTTP/1.1"),
    _line("absolute form without slashes", b"GET http:a.test HTTP/1.1"),
    Case("absolute form without Host", b"GET http://a.test/ HTTP/1.1\r\n\r\n" + SMUGGLED),
]

_CHUNKS = [
    _chunks("0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    _chunks("0x0", b"0x0\r\n\r\n"),
    _chunks("plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    _chunks("minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    _chunks("minus nought", b"-0\r\n\r\n"),
    _chunks("underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    _chunks("no digits", b"\r\n0\r\n\r\n"),
    _chunks("no digits but an extension", b";a=b\r\n0\r\n\r\n"),
    _chunks("letters", b"xyz\r\n0\r\n\r\n"),
    _chunks("blank before", b" 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("blank after", b"5 \r\nhello\r\n0\r\n\r\n"),
    _chunks("tab after", b"5\t\r\nhello\r\n0\r\n\r\n"),
    _chunks("blank after nought", b"0 \r\n\r\n"),
    _chunks("bare semicolon", b"5;\r\nhello\r\n0\r\n\r\n"),
    _chunks("bare semicolon after nought", b"0;\r\n\r\n"),
    _chunks("LF in an extension (TERM.EXT)", b"5;\nhello\r\n0\r\n\r\n"),
    _chunks("LF in an extension's value", b"5;a=\nb\r\nhello\r\n0\r\n\r\n"),
    _chunks("CR in an extension (EXT.TERM)", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    _chunks("line end in a quoted value", b'5;a="\r\nhello\r\n0\r\n\r\n'),
    _chunks("NUL in an extension", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
    _chunks("bare LF after the size", b"5\nhello\r\n0\r\n\r\n"),
    _chunks("bare CR after the size", b"5\rhello\r\n0\r\n\r\n"),
    _chunks("bare LF after the data (TERM.SPILL)", b"5\r\nhello\n0\r\n\r\n"),
    _chunks("nothing after the data", b"5\r\nhello0\r\n\r\n"),
    _chunks("two bytes that are no line end (SPILL)", b"5\r\nhelloXX0\r\n\r\n"),
    _chunks("bare LF after nought", b"0\n\n"),
    _chunks("LF LF after nought", b"0\r\n\n"),
    _chunks("sixteen digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("2**64 + 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    _chunks("2**64 - 1", b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    _chunks("two numbers", b"5 5\r\nhello\r\n0\r\n\r\n"),
    _chunks("comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
    _chunks("full-width digit", "\uff15\r\nhello\r\n0\r\n\r\n".encode()),
    _chunks("endless size line", b"0" * 4000 + b"5\r\nhello\r\n0\r\n\r\n"),
    _chunks("endless extension", b"5;a=" + b"b" * 4000 + b"\r\nhello\r\n0\r\n\r\n"),
    _chunks("trailer without a colon", b"0\r\nX\r\n\r\n"),
    _chunks("trailer with a bare LF", b"0\r\nX: y\nZ: z\r\n\r\n"),
    _chunks("trailer with a bare CR", b"0\r\nX: y\rZ: z\r\n\r\n"),
    _chunks("trailer folded", b"0\r\nX: y\r\n z\r\n\r\n"),
    _chunks("trailer with a blank before the colon", b"0\r\nX : y\r\n\r\n"),
    _chunks("trailer with a NUL", b"0\r\nX: \x00\r\n\r\n"),
    _chunks("trailers of many bytes", b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n"),
]

_POST = b"POST / HTTP/1.1"
_PLAIN = b"GET / HTTP/1.1"
_CHUNKED = TE + b"\r\n"
_FIVE = b"Content-Length: 5\r\n"
_ALL = b"Content-Length: %d\r\n" % len(SMUGGLED)
_ONE_CHUNK = b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n"
_HELLO = b"5\r\nhello\r\n0\r\n\r\n"
_ASKS = b"Connection: upgrade\r\nUpgrade: "
_HIDDEN = (b"POST", b"/", SMUGGLED)
_EMPTY = (b"POST", b"/", b"")
_FRAMING_TRAILERS = b"0\r\nContent-Length: 42\r\nTransfer-Encoding: identity\r\nHost: other.test\r\n\r\n"
_EXTENSIONS = b'2;a;b=c\r\nhe\r\n3;d="e;\\"f"\r\nllo\r\n0;g\r\n\r\n'
_UNDERSCORES = b"Transfer_Encoding: chunked\r\nContent_Length: 42\r\n"
_NAMED = b"Connection: keep-alive, Content-Length, Host\r\n"
_OTHER = b"Host: other.test\r\n"
_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
_KEPT = b"Connection: keep-alive\r\n"

_SENT = [
    _sent("two pipelined", _PLAIN, body=SMUGGLED, expect=(GET, NEXT)),
    _sent("empty lines first", b"\r\n\r\n" + _PLAIN, body=b"\r\n" + SMUGGLED, expect=(GET, NEXT)),
    _sent("a length, then no request", _POST, _FIVE, b"hello0\r\n\r\n", expect=(POST5,), refused=True),
    _sent("a body, then LF", _POST, _FIVE, b"hello\n" + SMUGGLED, expect=(POST5,), refused=True),
    _sent("no length, then chunks", _POST, b"", _HELLO, expect=(_EMPTY,), refused=True),
    _sent("request inside a body", _POST, _ALL, SMUGGLED, expect=(_HIDDEN,)),
    _sent("request inside a chunk", _POST, _CHUNKED, _ONE_CHUNK, expect=(_HIDDEN,)),
    _sent("CL.0: GET with a body", _PLAIN, _ALL, SMUGGLED, expect=((b"GET", b"/", SMUGGLED),)),
    _sent("TE.0: OPTIONS with chunks", b"OPTIONS / HTTP/1.1", _CHUNKED, _ONE_CHUNK, expect=((b"OPTIONS", b"/", SMUGGLED),)),
    _sent("0.CL: HEAD with a body", b"HEAD / HTTP/1.1", _ALL, SMUGGLED, expect=((b"HEAD", b"/", SMUGGLED),)),
    _sent("DELETE with a body", b"DELETE / HTTP/1.1", _FIVE, b"hello", expect=((b"DELETE", b"/", b"hello"),)),
    _sent("TRACE", b"TRACE / HTTP/1.1", expect=((b"TRACE", b"/", b""),)),
    _sent("a method of its own", b"SMUGGLE / HTTP/1.1", body=SMUGGLED, expect=((b"SMUGGLE", b"/", b""), NEXT)),
    _sent("a method in lower case", b"get / HTTP/1.1", _FIVE, b"hello" + SMUGGLED, expect=((b"get", b"/", b"hello"), NEXT)),
    _sent("a method of odd tokens", b"!#$%&'*+-.^_`|~1 / HTTP/1.1", expect=((b"!#$%&'*+-.^_`|~1", b"/", b""),)),
    _sent("HTTP/1.2", b"POST / HTTP/1.2", _FIVE, b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("OPTIONS without a path", b"OPTIONS http://a.test HTTP/1.1", body=SMUGGLED, expect=((b"OPTIONS", b"*", b""), NEXT)),
    _sent("OPTIONS *", b"OPTIONS * HTTP/1.1", expect=((b"OPTIONS", b"*", b""),)),
    _sent("length nought", _POST, b"Content-Length: 0\r\n", SMUGGLED, expect=(_EMPTY, NEXT)),
    _sent("no length", _POST, b"", SMUGGLED, expect=(_EMPTY, NEXT)),
    _sent("length with noughts", _POST, b"Content-Length: 005\r\n", b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("length with blanks", _POST, b"Content-Length: \t 5 \t\r\n", b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("chunked in capitals", _POST, b"tRANSFER-eNCODING:\tCHUNKED \r\n", _HELLO + SMUGGLED, expect=(POST5, NEXT)),
    _sent("chunked among blanks", _POST, b"Transfer-Encoding:  chunked \t\r\n", _HELLO + SMUGGLED, expect=(POST5, NEXT)),
    _sent("sizes with noughts", _POST, _CHUNKED, b"0005\r\nhello\r\n000\r\n\r\n" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("chunk extensions", _POST, _CHUNKED, _EXTENSIONS + SMUGGLED, expect=(POST5, NEXT)),
    _sent("framing in trailers", _POST, _CHUNKED, b"5\r\nhello\r\n" + _FRAMING_TRAILERS + SMUGGLED, expect=(POST5, NEXT)),
    _sent("underscores for hyphens", _POST, _UNDERSCORES, SMUGGLED, expect=(_EMPTY, NEXT)),
    _sent("Connection names framing", _POST, _NAMED + _FIVE, b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("Connection names chunks", _POST, b"Connection: Transfer-Encoding\r\n" + _CHUNKED, _HELLO, expect=(POST5,)),
    _sent("close, then another", _PLAIN, b"Connection: close\r\n", SMUGGLED, expect=(GET,)),
    _sent("absolute form", b"GET http://a.test/x HTTP/1.1", b"", SMUGGLED, host=_OTHER, expect=((b"GET", b"/x", b""), NEXT)),
    _sent("absolute form, no path", b"GET http://a.test?x HTTP/1.1", host=_OTHER, expect=((b"GET", b"/?x", b""),)),
    _sent("two slashes", b"GET //other.test/x HTTP/1.1", b"", SMUGGLED, expect=((b"GET", b"//other.test/x", b""), NEXT)),
    _sent("h2c upgrade", _PLAIN, _H2C, SMUGGLED, expect=(GET, NEXT)),
    _sent("h2c in a list", _PLAIN, _ASKS + b"websocket, h2c\r\n", SMUGGLED, expect=(GET, NEXT)),
    _sent("h2c in capitals", _PLAIN, _ASKS + b"H2C/1\r\n", SMUGGLED, expect=(GET, NEXT)),
    _sent("upgrade with a body", _POST, _ASKS + b"websocket\r\n" + _FIVE, b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("upgrade that is declined", _PLAIN, _ASKS + b"websocket\r\n", SMUGGLED, expect=(GET, NEXT)),
    _sent("upgrade without Connection", _PLAIN, b"Upgrade: websocket\r\n", SMUGGLED, expect=(GET, NEXT)),
    _sent("Expect without a body", _PLAIN, b"Expect: 100-continue\r\n", SMUGGLED, expect=(GET, NEXT)),
    _sent("Expect, body at once", _POST, b"Expect: 100-continue\r\n" + _FIVE, b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("HTTP/1.0", b"POST / HTTP/1.0", _FIVE, b"hello" + SMUGGLED, expect=(POST5,)),
    _sent("HTTP/1.0 kept alive", b"POST / HTTP/1.0", _KEPT + _FIVE, b"hello" + SMUGGLED, expect=(POST5, NEXT)),
    _sent("Expect in HTTP/1.0", b"POST / HTTP/1.0", b"Expect: 100-continue\r\n" + _FIVE, b"hello", expect=(POST5,)),
]

CASES = [*_FRAMING, *_LINES, *_CHUNKS, *_SENT]
