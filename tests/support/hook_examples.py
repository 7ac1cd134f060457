"""The examples of Previews with hooks, and their scripts as a container would run them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

from controller.preview.manifests import Json, after_job_of, job_of
from controller.preview.resource import Preview, parse_preview
from tests.support.manifests import DEPLOY, read

__all__ = ["HOOK_EXAMPLES", "jobs_of", "preview_of", "run_hook"]

HOOK_EXAMPLES = ("kafka", "localstack", "postgresql")


def preview_of(example: str) -> Preview:
    """The Preview of an example, as the controller reads it."""
    (found,) = read(DEPLOY / "examples" / "kubernetes" / f"preview-hooks-{example}.yaml")
    found["metadata"] |= {"namespace": "default", "uid": "u"}
    return parse_preview(json.dumps(found).encode())


def jobs_of(preview: Preview) -> tuple[dict[str, Json], dict[str, Json]]:
    """The Jobs that the controller makes of the hooks before and after, by the names of these."""
    assert preview.spec is not None
    return (
        {hook.name: job_of(preview, hook, "") for hook in preview.spec.before or ()},
        {hook.name: after_job_of(preview, hook, "") for hook in preview.after},
    )


def run_hook(job: Json, environment: Mapping[str, str], replaced: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    """Run the command of a Job's container, with its variables and others. `replaced` are texts of it."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = [*container["command"]]
    for old, new in replaced.items():
        command = [word.replace(old, new) for word in command]
    own = {each["name"]: each["value"] for each in container["env"]}
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **own, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
