"""`aws` and `kafka-topics.sh` as far as the examples of hooks use them, as a program. What there is, is in a file beside it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

QUEUES = "http://localstack:4566/000000000000/"


class Words(list[str]):
    def value(self, flag: str) -> str:
        return self[self.index(flag) + 1]


class State:
    """What there is: pairs of a kind and a name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: list[list[str]] = json.loads(path.read_text())

    def has(self, kind: str, name: str) -> bool:
        return [kind, name] in self.found

    def names(self, kind: str) -> list[str]:
        return [name for one, name in self.found if one == kind]

    def add(self, kind: str, name: str) -> None:
        self._write([*self.found, [kind, name]])

    def drop(self, kind: str, name: str) -> None:
        assert self.has(kind, name), f"there is no {kind} {name}"
        self._write([one for one in self.found if one != [kind, name]])

    def _write(self, found: list[list[str]]) -> None:
        self.found = found
        self._path.write_text(json.dumps(found))


def topics(words: Words, state: State) -> None:
    assert words.value("--bootstrap-server") == "kafka:9092"
    name = words.value("--topic")
    if "--create" in words:
        assert not state.has("topic", name) or "--if-not-exists" in words
        if not state.has("topic", name):
            state.add("topic", name)
    else:
        assert "--delete" in words
        if state.has("topic", name) or "--if-exists" not in words:
            state.drop("topic", name)


def buckets(words: Words, state: State) -> None:
    match words:
        case ["s3api", "list-buckets", *_]:
            name = words.value("--query").split("'")[1]
            assert words.value("--query") == f"Buckets[?Name=='{name}'].Name"
            print("\t".join(one for one in state.names("bucket") if one == name))  # noqa: T201
        case ["s3", "mb", url]:
            assert not state.has("bucket", url.removeprefix("s3://"))
            state.add("bucket", url.removeprefix("s3://"))
        case _:
            *start, url = words
            assert start == ["s3", "rb", "--force"], "it may be full"
            state.drop("bucket", url.removeprefix("s3://"))


def queues(words: Words, state: State) -> None:
    match words[1]:
        case "create-queue":
            if not state.has("queue", words.value("--queue-name")):
                state.add("queue", words.value("--queue-name"))
        case "list-queues":
            end = words.value("--query").split("'")[1]
            assert words.value("--query") == f"QueueUrls[?ends_with(@, '{end}')]"
            begin = words.value("--queue-name-prefix")
            urls = [f"{QUEUES}{name}" for name in state.names("queue") if name.startswith(begin)]
            print("\t".join(url for url in urls if url.endswith(end)) or "None")  # noqa: T201
        case _:
            assert words[1] == "delete-queue"
            state.drop("queue", words.value("--queue-url").removeprefix(QUEUES))


if __name__ == "__main__":
    program, *typed = sys.argv[1:]
    if "down" in (os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("KAFKA")):
        sys.exit("no connection")
    act = topics if program.endswith("kafka-topics.sh") else queues if typed[0] == "sqs" else buckets
    act(Words(typed), State(Path(program).parent / "state"))
