"""What a build in a container may, and what it sees."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.backends.docker.conftest import output

from kedge import ExitCause, Limits

if TYPE_CHECKING:
    from tests.backends.docker.conftest import Lab

MIB = 1024**2


@pytest.mark.parametrize("warm", [0, 1])
async def test_no_description_of_a_container_shows_the_token(lab: Lab, warm: int) -> None:
    await lab.open(warm=warm, network="none")
    compute_id, runner = await lab.start(["wait"], trusted=True)
    container = lab.container(compute_id)

    described = json.dumps(lab.engine.client.api.inspect_container(compute_id))
    described += json.dumps(container.top())

    assert runner.hello["token"] not in described
    assert runner.hello["token"] not in json.dumps(runner.hello["environ"])


async def test_a_build_is_an_ordinary_user_without_rights(lab: Lab) -> None:
    await lab.open()
    compute_id, _ = await lab.start(["wait"])

    status = output(lab.container(compute_id), "cat", "/proc/1/status", "/proc/self/status")

    lines = [line.split() for line in status.splitlines()]
    of = {key: {tuple(line[1:]) for line in lines if line and line[0] == key} for key in ("Uid:", "CapEff:")}
    assert of["Uid:"] == {("1000", "1000", "1000", "1000")}
    assert of["CapEff:"] == {("0000000000000000",)}
    assert {line[1] for line in lines if line and line[0] in {"CapBnd:", "CapPrm:"}} == {"0000000000000000"}
    assert [line[1] for line in lines if line and line[0] == "NoNewPrivs:"] == ["1", "1"]
    assert [line[1] for line in lines if line and line[0] == "Seccomp:"] == ["2", "2"]


async def test_only_the_workspace_and_tmp_can_be_written(lab: Lab) -> None:
    await lab.open(temporary="1 MiB")
    compute_id, _ = await lab.start(["wait"])
    container = lab.container(compute_id)

    for place in ("/", "/etc", "/opt/kedge", "/usr/bin", "/run/kedge", "/run/kedge/kedge.sock/.."):
        code, said = container.exec_run(["touch", f"{place}/written"])
        assert code != 0, place
        assert b"Read-only" in said or b"denied" in said or b"directory" in said, said
    for place in ("/workspace", "/tmp"):  # noqa: S108  (of the container)
        assert container.exec_run(["touch", f"{place}/written"]).exit_code == 0
    code, said = container.exec_run(["dd", "if=/dev/zero", "of=/tmp/full", "bs=64k", "count=32"])
    assert code != 0
    assert b"No space left" in said


async def test_code_from_outside_has_no_network_and_still_reaches_kedge(lab: Lab) -> None:
    await lab.open()
    compute_id, runner = await lab.start(["wait"])

    devices = output(lab.container(compute_id), "cat", "/proc/net/dev")

    names = {line.partition(":")[0].strip() for line in devices.splitlines() if ":" in line}
    assert names == {"lo"}
    assert runner.hello["endpoint"] == "unix:/run/kedge/kedge.sock"


async def test_trusted_builds_have_a_network_where_they_do_not_reach_each_other(lab: Lab) -> None:
    await lab.open()
    ids = [(await lab.start(["wait"], trusted=True))[0] for _ in range(2)]
    first, second = [lab.container(compute_id) for compute_id in ids]
    networks = second.attrs["NetworkSettings"]["Networks"]
    (address,) = [network["IPAddress"] for network in networks.values()]
    listen = f"import socket; s=socket.create_server(('{address}', 7000)); s.accept()"
    second.exec_run(["python3", "-c", listen], detach=True)

    call = f"import socket; socket.create_connection(('{address}', 7000), 1)"
    code, said = first.exec_run(["python3", "-c", call])

    assert code != 0
    assert b"timed out" in said or b"TimeoutError" in said


async def test_a_container_sees_nothing_of_the_engine_or_the_data_dir(lab: Lab) -> None:
    (lab.folder / "secret.key").write_text("sesame")
    await lab.open()
    compute_id, _ = await lab.start(["wait"])
    container = lab.container(compute_id)

    assert output(container, "ls", "/run/kedge/kedge.sock").split() == ["/run/kedge/kedge.sock"]
    assert "denied" in output(container, "ls", "/run/kedge")
    assert container.exec_run(["ls", "/var/run/docker.sock"]).exit_code != 0
    binds = [mount for mount in container.attrs["Mounts"] if mount["Type"] == "bind"]
    assert [(mount["Destination"], mount["RW"]) for mount in binds] == [("/run/kedge", False)]


async def test_who_uses_too_much_memory_is_told_so(lab: Lab) -> None:
    await lab.open(memory="64 MiB")

    status = await lab.run(["eat", 256 * MIB])

    assert status.cause is ExitCause.OUT_OF_MEMORY
    assert "memory limit" in status.detail


async def test_a_request_may_ask_for_less_than_the_settings_have_and_not_for_more(lab: Lab) -> None:
    await lab.open(memory="256 MiB", cpu=1.0, processes=100, open_files=1024)
    less = Limits(memory_bytes=64 * MIB, processes=50, cpus=0.5, open_files=512)
    more = Limits(memory_bytes=1 << 40, processes=5000, cpus=64.0, open_files=2048)
    asked = [(await lab.start(["wait"], limits=limits))[0] for limits in (less, more)]

    got = [lab.container(compute_id).attrs["HostConfig"] for compute_id in asked]

    memory = [(config["Memory"], config["MemorySwap"], config["PidsLimit"]) for config in got]
    assert memory == [(64 * MIB, 64 * MIB, 50), (256 * MIB, 256 * MIB, 100)]
    assert [config["CpuQuota"] / config["CpuPeriod"] for config in got] == [0.5, 1.0]
    assert [config["Ulimits"][0]["Hard"] for config in got] == [512, 1024]


async def test_a_workspace_in_memory_has_a_size(lab: Lab) -> None:
    await lab.open(workspace="memory", disk="16 MiB", memory="256 MiB")
    compute_id, _ = await lab.start(["wait"])

    fill = ["dd", "if=/dev/zero", "of=/workspace/full", "bs=1M", "count=32"]
    code, said = lab.container(compute_id).exec_run(fill)

    assert code != 0
    assert b"No space left" in said


async def test_last_words_of_a_runner_that_crashed_are_kept_and_harmless(lab: Lab) -> None:
    await lab.open()

    status = await lab.run(["raise", "the end \x1b[2J"])

    assert (status.exit_code, status.cause) == (1, ExitCause.SELF)
    assert "RuntimeError: the end" in status.detail
    assert "\x1b" not in status.detail
