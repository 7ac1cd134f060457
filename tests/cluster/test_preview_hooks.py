"""Hooks after on a real control plane: when nothing of the copy runs any more, once, over a leader that is killed, and never for
ever."""

from pathlib import Path

from tests.cluster.api import Api, Object, namespaced
from tests.cluster.cluster import APP_IMAGE, Cluster
from tests.cluster.controlplane import until
from tests.cluster.objects import create_app, pods
from tests.cluster.test_port_leases import kill_leader
from tests.cluster.test_previews import making, of, preview
from tests.cluster.weir import Weir, condition, http_scaled_object, until_condition

__all__ = ["making"]  # the fixture

FINALIZER = "weir.dev/after"
RELEASED_SECONDS = 600
"""For which a hook waits until the test has looked."""


def hook(name: str, script: str) -> Object:
    container = {"name": "a", "image": APP_IMAGE, "command": ["/bin/sh", "-ec", script]}
    return {"name": name, "job": {"backoffLimit": 0, "template": {"spec": {"containers": [container]}}}}


async def test_hooks_after_run_once_and_hold_nothing_for_ever(  # noqa: PLR0917 - fixtures
    making: None, cluster: Cluster, weir: Weir, api: Api, namespace: str, tmp_path: Path
) -> None:
    log, released = tmp_path / "log", tmp_path / "released"
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    async def found(kind: str, name: str) -> Object | None:
        return await api.find(namespaced(kind, namespace, name))

    async def is_gone(name: str) -> bool:
        return await found("previews", name) is None

    async def make(name: str, **spec: object) -> None:
        await api.create(namespaced("previews", namespace), preview(name, **spec))
        await until_condition(api, "previews", namespace, name, "Ready", "True")
        assert (await api.get(namespaced("previews", namespace, name)))["metadata"]["finalizers"] == [FINALIZER]

    async def is_told(name: str, reason: str, message: str) -> bool:
        events = await api.list(namespaced("events", namespace), fieldSelector=f"involvedObject.name={name}")
        return (reason, message) in {(event["reason"], event["message"]) for event in events}

    await create_app(api, namespace, "web")
    await api.create(namespaced("httpscaledobjects", namespace), http_scaled_object(namespace, "web", previews={}))
    await until_condition(api, "httpscaledobjects", namespace, "web", "Ready", "True")
    database = f"{tmp_path}/$WEIR_PREVIEW_OF-$WEIR_PREVIEW"
    wait = f"echo begun >> {log}; for i in $(seq {RELEASED_SECONDS}); do if [ -e {released} ]; then break; fi; sleep 1; done"
    after = [hook("database", f'{wait}; rmdir "{database}"; echo ended >> {log}'), hook("queue", f"echo queue >> {log}")]
    await make("f1", before=[hook("database", f'mkdir "{database}"')], after=after)
    assert (tmp_path / "web-f1").is_dir()
    assert of(await weir.get(f"f1.web.{namespace}")) == "web--f1"

    await api.delete(namespaced("previews", namespace, "f1"))
    await until_condition(api, "previews", namespace, "f1", "AfterHooks", "Unknown")

    async def runs() -> bool:
        seen = await found("previews", "f1")
        return seen is not None and condition(seen, "Ready").get("reason") == "AfterHookRunning" and log.exists()

    await until(runs, "the first hook after runs")
    assert not await pods(api, namespace, "web--f1")
    assert await found("deployments", "web--f1") is None
    assert await found("httpscaledobjects", "web--f1") is None
    assert await found("services", "web--f1") is not None
    await kill_leader(cluster, api)
    released.touch()
    await until(lambda: is_gone("f1"), "the Preview is gone")
    assert log.read_text().split() == ["begun", "ended", "queue"]
    assert not (tmp_path / "web-f1").exists()

    async def nothing_is_left() -> bool:
        return await found("services", "web--f1") is None and not await api.list(jobs)

    await until(nothing_is_left, "nothing of it is left")

    await make("f2", after=[hook("database", "exit 3"), hook("queue", f"echo f2 >> {log}")])
    await api.delete(namespaced("previews", namespace, "f2"), {"propagationPolicy": "Foreground"})
    await until(lambda: is_gone("f2"), "one with a hook that fails is gone")
    assert log.read_text().split()[-1] == "f2"
    told = "hook database: Job has reached the specified backoff limit"
    await until(lambda: is_told("f2", "AfterHookFailed", told), "an Event says so")

    await make("f3", after=[hook("database", f"sleep {RELEASED_SECONDS}")], afterTimeout="5s")
    await api.delete(namespaced("previews", namespace, "f3"))
    await until(lambda: is_gone("f3"), "one with a hook that does not end is gone")
    told = "hook database has not ended within 5 s of the deletion"
    await until(lambda: is_told("f3", "AfterHookTimedOut", told), "an Event says so")
    await until(nothing_is_left, "its Job is gone")

    # As one that was made, of a base that is gone.
    held = preview("f4", base="none", after=[hook("database", f"echo f4 >> {log}")])
    other = f"{namespace}-ending"
    await api.create(namespaced("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    held["metadata"] = {"name": "f4", "finalizers": [FINALIZER]}
    await api.create(namespaced("previews", other), held)
    await api.delete(namespaced("namespaces", name=other))

    async def namespace_is_gone() -> bool:
        return await api.find(namespaced("namespaces", name=other)) is None

    await until(namespace_is_gone, "a namespace does not wait for hooks")
    assert "f4" not in log.read_text()
