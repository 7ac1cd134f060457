"""Calls of the Admin API: answers within bounds, problems as errors that name the field, progress as it comes.

What the server says may be anything; it is made safe for a terminal where it is written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from weir.apps.events import EventError, events
from weir.apps.failure import NOT_YET, UNREACHABLE, NotDoneError, code_of_status

__all__ = ["AdminClient", "Answer", "Json", "OnProgress"]

Json = Mapping[str, Any]
OnProgress = Callable[[Json], None]
"""Called with each progress event."""

MAX_ANSWER_BYTES = 64 << 20
"""A page of five hundred applications takes some hundred kilobytes."""
MAX_LINE_BYTES = 64 << 10
"""Of a log; longer lines come in pieces."""
MAX_WORDS = 2000
"""Characters of one message."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""For the head of an answer, and of silence after it. The server sends something every ten seconds while it works."""
CREATED = 201
MERGE_PATCH = "application/merge-patch+json"
PROBLEM = "application/problem+json"
EVENT_STREAM = "text/event-stream"
TIMEOUT = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server has answered."""

    status: int
    value: Any
    etag: str = ""
    outcome: str = ""
    """The last word of a stream of progress; "" of an answer at once."""
    message: str = ""
    created: bool = False
    """Whether it was not there before."""
    final: bool = False
    """Whether waiting for longer would not have helped."""


class AdminClient:
    """Calls below one URL. `client` has the token and says whom to trust."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        clock: Callable[[], float] = time.monotonic,
        trouble: Callable[[], NotDoneError | None] = lambda: None,
    ) -> None:
        """`trouble` says why the way to the server is broken, where that is known better than by an error of a connection."""
        self._client, self._clock, self._trouble = client, clock, trouble
        self.is_sent = False
        """Whether a change may have reached the server: an interruption then leaves open what came of it."""

    def ask(self, method: str, path: str, **what: Any) -> Answer:
        """One call. Raises NotDoneError for every answer that is a problem."""
        with self._sent(method, path, **what) as response:
            return self._answer(response)

    def follow(self, method: str, path: str, on_progress: OnProgress, *, patience: float, **what: Any) -> Answer:
        """A call with its progress, until the last event. Raises NotDoneError, also after `patience` seconds."""
        query = {**what.pop("query", {}), "wait": "true"}
        began = self._clock()
        with self._sent(method, path, query=query, accept=f"{EVENT_STREAM}, application/json", **what) as response:
            if response.status_code >= 300 or not _is(response, EVENT_STREAM):
                return self._answer(response)
            for event in events(response.iter_raw()):
                if event is None:
                    if self._clock() - began > patience:
                        raise NotDoneError(f"still not done after {patience:g} s; it goes on there", code=NOT_YET)
                    continue
                name, value = event[0], _object(event[1])
                if name == "done":
                    created = value.get("created") is True
                    self.is_sent = False
                    whole = value.get("app", value.get("preview")) if "outcome" in value else value  # or of a release
                    outcome, final = _text(value, "outcome"), value.get("final") is True
                    return Answer(response.status_code, whole, "", outcome, _reason(value), created=created, final=final)
                if name == "failed":
                    self.is_sent = False
                    problem = value.get("problem")
                    raise _problem(problem if isinstance(problem, dict) else value)
                on_progress(value)
        raise NotDoneError("the server has ended the answer before its last word; it may still be at it", code=UNREACHABLE)

    def lines(self, path: str, query: Json) -> Iterator[str]:
        """The lines of a log, as they come."""
        with self._sent("GET", path, query=query, accept="text/plain", silence=None) as response:
            if response.status_code >= 300:
                self._answer(response)
            rest = bytearray()
            for piece in response.iter_raw():
                rest += piece
                *whole, last = rest.split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
                rest = bytearray(last)
                if len(rest) > MAX_LINE_BYTES:
                    yield rest.decode(errors="replace")
                    rest.clear()
            if rest:
                yield rest.decode(errors="replace")

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Json | None = None,
        if_match: str | None = None,
        accept: str = "application/json",
        silence: float | None = ANSWER_SECONDS,
    ) -> Iterator[httpx.Response]:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        if if_match is not None:
            headers["If-Match"] = if_match
        content = None if body is None else json.dumps(body).encode()
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=silence)
        self.is_sent = method != "GET"
        try:
            with self._client.stream(
                method, path, params=dict(query or {}), content=content, headers=headers, timeout=timeout
            ) as response:
                yield response
        except httpx.ConnectError as error:
            self.is_sent = False
            raise self._trouble() or NotDoneError(*_unreachable(self._client.base_url, error), code=UNREACHABLE) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise self._trouble() or NotDoneError(f"{self._client.base_url}: {why}", code=UNREACHABLE) from error
        except EventError as error:
            raise NotDoneError(f"the server's progress cannot be read: {error}") from error

    def _answer(self, response: httpx.Response) -> Answer:
        content = bytearray()
        for piece in response.iter_raw():
            content += piece
            if len(content) > MAX_ANSWER_BYTES:
                raise NotDoneError(f"the server's answer is larger than {MAX_ANSWER_BYTES} bytes")
        self.is_sent = False
        if response.status_code >= 300:
            if _is(response, PROBLEM):
                raise _problem(_object(bytes(content)), response)
            why = f"the server answers {response.status_code}, and not as an Admin API does"
            raise NotDoneError(why, code=code_of_status(response.status_code))
        value = _parsed(bytes(content)) if content else None
        return Answer(response.status_code, value, response.headers.get("etag", ""), created=response.status_code == CREATED)


def _is(response: httpx.Response, media_type: str) -> bool:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower() == media_type


def _parsed(content: bytes | str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotDoneError("the server's answer is not JSON: is it an Admin API?") from error


def _object(content: bytes | str) -> dict[str, Any]:
    value = _parsed(content)
    if not isinstance(value, dict):
        raise NotDoneError("the server's answer is no JSON object: is it an Admin API?")
    return value


def _text(value: Json, name: str) -> str:
    found = value.get(name)
    return found[:MAX_WORDS] if isinstance(found, str) else ""


def _reason(value: Json) -> str:
    return ": ".join(filter(None, (_text(value, "reason"), _text(value, "message"))))


def _problem(problem: Json, response: httpx.Response | None = None) -> NotDoneError:
    """A problem (RFC 9457) for people: each wrong field by its name, or what is wrong at all."""
    status = problem.get("status")
    status = status if isinstance(status, int) else response.status_code if response is not None else 0
    errors = problem.get("errors")
    lines = [*_faults(errors)] if isinstance(errors, list) else []
    if not lines:
        title, detail = _text(problem, "title"), _text(problem, "detail")
        lines = [": ".join(filter(None, (title, detail))) or f"the server answers {status}"]
    if step := _text(problem, "step"):
        undone = "is undone" if problem.get("rolled_back") else "is not undone yet; the controller goes on trying"
        lines.append(f"it failed at {step}, and what was done before {undone}")
    if status == 401:
        lines.append("the token is not accepted, or not any more: it may have expired")
    if status == 412:
        lines.append("it was changed meanwhile: look at it again, weir app show")
    if response is not None and (seconds := response.headers.get("retry-after", "")).isdigit():
        lines.append(f"again in {seconds[:6]} s")
    return NotDoneError(*lines, code=code_of_status(status), status=status)


def _faults(errors: Sequence[Any]) -> Iterator[str]:
    for fault in errors[:20]:
        if not isinstance(fault, dict):
            continue
        pointer, detail = _text(fault, "pointer"), _text(fault, "detail")
        where = field_of(pointer) if pointer else _text(fault, "parameter")
        yield f"{where}: {detail}" if where else detail


def field_of(pointer: str) -> str:
    """A JSON pointer (RFC 6901) as people write a field: "/ports/0/port" is ports[0].port."""
    name = ""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")  # noqa: PLW2901
        name += f"[{part}]" if part.isdigit() else f".{part}" if name else part
    return name


def _unreachable(url: httpx.URL, error: httpx.ConnectError) -> Iterator[str]:
    why = str(error)
    yield f"{url}: {why}"
    if "CERTIFICATE_VERIFY_FAILED" in why:
        yield "--ca FILE names the authority that its certificate is of"
