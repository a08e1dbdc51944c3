"""A kernel of its own for each build, where gVisor is installed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.backends.docker.conftest import Lab, output
from tests.private_engine import PrivateEngine

from kedge.testing.orders import Orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.docker_engine import Engine


@pytest.fixture
async def lab(engine: Engine, tmp_path: Path) -> AsyncIterator[Lab]:
    """A backend on an engine that has gVisor, which nothing else needs: it is used where it is."""
    program = shutil.which("runsc")
    if program is None:
        pytest.skip("no gVisor is installed (Debian: runsc)")
    config = tmp_path / "daemon.json"
    gvisor = {"path": program, "runtimeArgs": ["--network=none", "--fsgofer-host-uds"]}
    config.write_text(json.dumps({"runtimes": {"runsc": gvisor}}))
    with PrivateEngine(engine, "--config-file", str(config)) as private:
        private.copy(engine.stand_in)
        async with Orders(f"unix:{tmp_path}/kedge.sock") as orders:
            lab = Lab(tmp_path, orders, engine)
            await lab.open(engine=private.url, runtime="runsc")
            lab.engine = type(engine)(client=private.client(), url=private.url)
            yield lab
            await lab.close()
            lab.engine.client.close()


async def test_a_build_in_gvisor_reaches_kedge_and_not_the_kernel(lab: Lab) -> None:
    compute_id, runner = await lab.start()

    release = output(lab.container(compute_id), "uname", "-r").strip()

    # which gVisor calls itself; the machine's is newer
    assert release == "4.4.0"
    assert runner.hello["endpoint"] == "unix:/run/kedge/kedge.sock"
    runner.order(["exit", 3])
    assert (await lab.exits.of(compute_id)).exit_code == 3
