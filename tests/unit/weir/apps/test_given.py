"""What flags say, in a cluster and in the file of `weir up`."""

from __future__ import annotations

from typing import Any

import pytest

from weir.apps.failure import UsageError
from weir.apps.given import Given, cluster_document, flag_of, local_changes

ALL: dict[str, Any] = {
    "command": "python3 'a b.py'",
    "port": ["8080/h2c"],
    "host": ["a.example.com", "b.example.com"],
    "path": ["/x"],
    "env": ["A=1", "B=x=y", "C="],
    "min": 0,
    "max": 3,
    "target": 5,
    "rate": 7,
    "health_path": "/healthz",
    "cooldown": "5m",
    "depends_on": ["db", "cache,optional", "mail,keep-awake=false,optional"],
}
NEEDED = ["db", {"name": "cache", "optional": True}, {"name": "mail", "keep_awake": False, "optional": True}]


def test_in_a_cluster() -> None:
    given = Given(
        **ALL, image="web:1", arg=["-v"], env_secret=["D=keys:d"], request=["cpu=250m"], limit=["memory=1Gi"], account="me"
    )
    assert cluster_document(given) == {
        "image": "web:1",
        "command": ["python3", "a b.py"],
        "args": ["-v"],
        "ports": [{"port": 8080, "protocol": "h2c"}],
        "hosts": ["a.example.com", "b.example.com"],
        "paths": ["/x"],
        "environment": {"A": "1", "B": "x=y", "C": "", "D": {"secret": {"name": "keys", "key": "d"}}},
        "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "1Gi"}},
        "replicas": {"min": 0, "max": 3},
        "target": {"concurrency": 5, "rate": 7},
        "health_path": "/healthz",
        "cooldown": 300,
        "depends_on": NEEDED,
        "service_account": "me",
    }
    assert cluster_document(Given()) == {}
    two = cluster_document(Given(port=["80", "81", "grpc=82/h2"]))["ports"]
    assert two == [{"port": 80}, {"port": 81, "name": "port-81"}, {"port": 82, "name": "grpc", "protocol": "h2"}]


def test_on_this_machine() -> None:
    assert local_changes(Given(**ALL, cwd="app")) == {
        ("command",): "python3 'a b.py'",
        ("hosts",): ["a.example.com", "b.example.com"],
        ("paths",): ["/x"],
        ("min",): 0,
        ("max",): 3,
        ("target",): 5,
        ("rate",): 7,
        ("cooldown",): "5m",
        ("depends_on",): NEEDED,
        ("cwd",): "app",
        ("readiness", "path"): "/healthz",
        ("env", "A"): "1",
        ("env", "B"): "x=y",
        ("env", "C"): "",
        ("port",): 8080,
        ("app_protocol",): "h2c",
    }


def test_a_file_comes_before_flags_and_set_after_them() -> None:
    given = Given(document={"image": "a", "replicas": {"min": 1}}, image="b", max=4, set=["replicas.max=5", "max_busy=60"])
    assert cluster_document(given) == {"image": "b", "replicas": {"min": 1, "max": 5}, "max_busy": 60}
    given = Given(document={"name": "a", "min": 1}, min=2, set=["timeouts.idle=5s", "schedule=[{replicas: 2}]"])
    assert local_changes(given) == {("min",): 2, ("timeouts", "idle"): "5s", ("schedule",): [{"replicas": 2}]}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"env": ["A"]}, "--env A: should be NAME=VALUE"),
        ({"env_secret": ["A=b"]}, "--env-secret A=b: should be NAME=SECRET:KEY"),
        ({"port": ["x"]}, "--port x: should be PORT, PORT/PROTOCOL or NAME=PORT, with one of http, h2c, https, h2"),
        ({"port": ["80/spdy"]}, "--port 80/spdy: should be PORT, PORT/PROTOCOL or NAME=PORT, with one of http, h2c, https, h2"),
        ({"port": ["٣"]}, "--port ٣: should be PORT, PORT/PROTOCOL or NAME=PORT, with one of http, h2c, https, h2"),
        ({"command": "'"}, "--command: No closing quotation"),
        ({"cooldown": "soon"}, "--cooldown: should be seconds, or a duration like 500ms, 10s, 1m30s"),
        ({"cooldown": "500ms"}, "--cooldown: should be whole seconds in a cluster"),
        ({"depends_on": [""]}, "--depends-on : should be NAME[,optional][,keep-awake=false]"),
        ({"depends_on": [",optional"]}, "--depends-on ,optional: should be NAME[,optional][,keep-awake=false]"),
        ({"depends_on": ["db,"]}, "--depends-on db,: should be NAME[,optional][,keep-awake=false]"),
        ({"depends_on": ["db,api"]}, "--depends-on db,api: should be NAME[,optional][,keep-awake=false]"),
        (
            {"depends_on": ["db,optional,optional"]},
            "--depends-on db,optional,optional: should be NAME[,optional][,keep-awake=false]",
        ),
        ({"cwd": "x"}, "--cwd: is for apps of weir up; in a cluster the image says where its command runs"),
        ({"set": ["x"]}, "--set x: should be FIELD=VALUE"),
        ({"set": ["x={a: 1, a: 2}"]}, "--set x: its value cannot be read: two fields have the name 'a'"),
        ({"set": ["x=&a [*a]"]}, "--set x: its value cannot be read: anchors are not taken here"),
    ],
)
def test_what_does_not_fit_a_cluster(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as error:
        cluster_document(Given(**flags))
    assert error.value.lines == (told,)
    assert error.value.code == 2


@pytest.mark.parametrize(
    "flags", [{"image": "x"}, {"arg": ["x"]}, {"env_secret": ["x"]}, {"request": ["x"]}, {"limit": ["x"]}, {"account": "x"}]
)
def test_what_is_only_for_a_cluster(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is for a cluster"):
        local_changes(Given(**flags))
    with pytest.raises(UsageError, match="listens on one port"):
        local_changes(Given(port=["1", "2"]))


def test_faults_name_the_flag() -> None:
    assert flag_of("replicas.min: is wrong") == "replicas.min: is wrong (--min and --max)"
    assert flag_of("ports[0].port: is wrong") == "ports[0].port: is wrong (--port)"
    assert flag_of("schedule: is wrong") == "schedule: is wrong"
    assert flag_of("depends_on[0]: is in another namespace").endswith(" (--depends-on)")
    assert flag_of("image") == "image"
    assert Given().is_empty
    assert not Given(min=0).is_empty
