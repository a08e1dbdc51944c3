"""The environment in which commands run: a scrubbed base, what CI sets, what the user set."""

from __future__ import annotations

import os
import sys

from kedge_runner.processes import MARKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kedge_runner.job import Deploy, Job

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHIM = """\
#!/bin/sh
exec {python} -I -S -c 'import sys; sys.path.insert(0, sys.argv.pop(1))
from kedge_runner.deploy_command import main; sys.exit(main())' {source} "$@"
"""


def base_environment(workspace: str, job: Job) -> dict[str, str]:
    """What every command of a build sees; makes the folders that it names."""
    home, temporary = os.path.join(workspace, "home"), os.path.join(workspace, "tmp")
    for folder in (home, temporary):
        os.makedirs(folder, exist_ok=True)
    environment = {
        "PATH": f"{write_shim(workspace)}:{os.environ.get('PATH') or PATH}",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "SHELL": "/bin/sh",
        "CI": "true",
    }
    environment |= ci_variables(job)
    # an empty name, or one with `=`, is no variable to the kernel
    environment |= {name: value for name, value in job.variables.items() if name and "=" not in name}
    environment[MARKER] = os.environ.get(MARKER) or f"{job.build_uuid}-{job.attempt}"
    return environment


def ci_variables(job: Job) -> dict[str, str]:
    """The variables of Workers Builds, and their twins."""
    values = {
        "": "1",
        "_BUILD_UUID": job.build_uuid,
        "_COMMIT_SHA": job.commit_hash,
        "_BRANCH": job.branch,
    }
    return {prefix + name: value for prefix in ("WORKERS_CI", "KEDGE_CI") for name, value in values.items()}


def deploy_environment(job: Job, deploy: Deploy) -> dict[str, str]:
    """What the deploy phase sees besides: how to reach Kedge."""
    environment = {
        "KEDGE_URL": deploy.url,
        "KEDGE_TOKEN": deploy.token,
        "KEDGE_ACCOUNT": deploy.account,
        "KEDGE_WORKER": job.worker,
    }
    if not job.is_production:
        environment["KEDGE_PREVIEW_ALIAS"] = job.preview_alias or ""
    return environment


def write_shim(workspace: str) -> str:
    """A folder with a `kedge` that can deploy, though Kedge is not installed here; return it."""
    folder = os.path.join(workspace, "bin")
    os.makedirs(folder, exist_ok=True)
    source = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    text = SHIM.format(python=_quoted(sys.executable), source=_quoted(source))
    with os.fdopen(os.open(os.path.join(folder, "kedge"), os.O_WRONLY | os.O_CREAT, 0o755), "w") as file:
        file.write(text)
    return folder


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
