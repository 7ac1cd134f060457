"""What gRPC says in fields: kinds of calls, deadlines, and the status of the proxy's own responses."""

from __future__ import annotations

import pytest

from interceptor.core.errors import BackendError, BadResponse, ExchangeError, Unavailable
from interceptor.core.grpc import (
    GRPC,
    NO_CALL,
    WEB,
    WEB_TEXT,
    cut_fields,
    kind_of,
    kind_of_fields,
    read_timeout,
    status_fields,
    write_timeout,
)
from interceptor.core.replies import Reply, no_route, text_reply


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"application/grpc", GRPC),
        (b"application/grpc+proto", GRPC),
        (b"application/grpc;x=y", GRPC),
        (b"Application/GRPC ; x=y", GRPC),
        (b"application/grpc-web", WEB),
        (b"application/grpc-web+json", WEB),
        (b"application/grpc-web-text", WEB_TEXT),
        (b"application/grpc-web-text+proto", WEB_TEXT),
        (b"application/grpc-web-texts", NO_CALL),
        (b"application/grpcs", NO_CALL),
        (b"application/json", NO_CALL),
        (b"application/grpc-web-text-and-more", NO_CALL),
        (b"", NO_CALL),
    ],
)
def test_the_kinds_of_calls(content_type: bytes, kind: int) -> None:
    assert kind_of(content_type) == kind
    assert kind_of_fields([(b"te", b"trailers"), (b"content-type", content_type)]) == kind
    assert kind_of_fields([]) == NO_CALL


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"5S", 5.0),
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"1500m", 1.5),
        (b"7u", 7e-6),
        (b"9n", 9e-9),
        (b"99999999n", 0.099999999),
        (b"0S", 0.0),
    ],
)
def test_deadlines(value: bytes, seconds: float) -> None:
    assert read_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"5", b"S", b"5s", b"123456789S", b"-1S", b"1.5S", b" 5S", b"5S ", b"5SS", b"\xd9\xa1S"])
def test_deadlines_that_are_none(value: bytes) -> None:
    assert read_timeout(value) is None


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(1.5, b"1500m"), (0.0, b"1m"), (-3.0, b"1m"), (99_999.999, b"99999999m"), (100_000.0, b"100000S"), (1e12, b"99999999S")],
)
def test_deadlines_that_are_written(seconds: float, value: bytes) -> None:
    assert write_timeout(seconds) == value
    assert read_timeout(value) is not None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("wait", reason="overflow", retry_after=3), 14),
        (no_route(b"a", b"/"), 12),
        (ExchangeError("late", status=504, reason="readiness_timeout"), 4),
        (ExchangeError("late", status=408, reason="slow_body"), 4),
        (ExchangeError("large", status=431, reason="too_large"), 8),
        (ExchangeError("wrong", status=400, reason="bad_request"), 13),
        (ExchangeError("no", status=403, reason="x"), 7),
        (BackendError("gone"), 14),
        (BadResponse("wrong"), 13),
        (ExchangeError("a teapot", status=418, reason="x"), 2),
    ],
)
def test_the_status_of_each_error(error: ExchangeError, code: int) -> None:
    fields = dict(status_fields(text_reply(error)))
    assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (b"%d" % code, str(error).replace('"', '"').encode())
    assert (b"grpc-retry-pushback-ms" in fields) == (error.retry_after is not None)


def test_the_pause_before_another_attempt() -> None:
    busy = dict(status_fields(text_reply(Unavailable("busy", reason="busy", retry_after=3))))
    assert busy[b"grpc-retry-pushback-ms"] == b"3000"
    dated = Reply(503, ((b"Retry-After", b"Fri, 31 Dec 1999 23:59:59 GMT"),))
    assert b"grpc-retry-pushback-ms" not in dict(status_fields(dated))
    final = Reply(404, ((b"Retry-After", b"3"),))
    assert b"grpc-retry-pushback-ms" not in dict(status_fields(final))


def message(body: bytes, content_type: bytes = b"text/plain; charset=utf-8") -> bytes:
    return dict(status_fields(Reply(503, ((b"Content-Type", content_type),), body)))[b"grpc-message"]


def test_a_message_is_text_in_visible_characters() -> None:
    assert message("weir: 100% of größe\nand more\n".encode()) == b"100%25 of gr%C3%B6%C3%9Fe%0Aand more"
    assert message(b"<html>no</html>", b"text/html") == message(b"") == b"503 Service Unavailable"
    assert message(b"a" * 1023 + "ß".encode()) == b"a" * 1023  # no half of a character
    assert dict(status_fields(Reply(599, ())))[b"grpc-message"] == b"599 "


def test_a_route_that_answers_with_a_status_of_its_own_keeps_it() -> None:
    own = Reply(200, ((b"Content-Type", b"application/grpc"), (b"Grpc-Status", b"5"), (b"Grpc-Message", b"none")))
    assert status_fields(own) == ((b"grpc-status", b"5"), (b"grpc-message", b"none"))


@pytest.mark.parametrize(
    ("reason", "code"), [("backend", b"14"), ("idle_timeout", b"4"), ("grpc_timeout", b"4"), ("other", b"13")]
)
def test_the_status_of_a_response_that_is_cut(reason: str, code: bytes) -> None:
    assert dict(cut_fields(reason, None))[b"grpc-status"] == code
    assert dict(cut_fields(reason, 1))[b"grpc-status"] == b"1"
