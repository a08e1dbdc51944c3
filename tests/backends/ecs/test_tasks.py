"""What is asked of ECS, how often, and what its refusals mean. No container runs here."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from tests.backends.ecs.conftest import settings_for

from kedge import CapacityUnavailable, ComputeRequest, ExitCause, StartRefused
from kedge.testing.ecs import ControlPlane, EcsServer
from kedge.testing.ecs.model import mistakes, service_model
from kedge.testing.ecs.refused import Refused, check_run
from kedge.testing.ecs.runner import End
from kedge.testing.fake_host import FakeHost
from kedge.testing.orders import Exits
from kedge_ecs.compute import EcsCompute
from kedge_ecs.settings import EcsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]


class IdleRunner:
    """Its tasks do nothing until they are stopped."""

    def __init__(self) -> None:
        self._stops: dict[str, threading.Event] = {}

    def start(self, task_id: str, definition: dict[str, Any], environment: dict[str, str]) -> None:
        self._stops[task_id] = threading.Event()

    def wait(self, task_id: str) -> End:
        self._stops[task_id].wait()
        return End(exit_code=143)

    def stop(self, task_id: str, grace: int) -> None:
        self._stops[task_id].set()


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[EcsServer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    plane = ControlPlane(IdleRunner())
    with EcsServer(plane) as server:
        yield server
        plane.close()
    assert server.wrong_answers == []


@pytest.fixture
def make(idle: EcsServer, tmp_path: Path) -> Callable[..., EcsCompute]:
    def make_one(**replaced: Any) -> EcsCompute:
        settings = settings_for(idle, **{"image": "kedge/build-image", "attempts": 1, **replaced})
        return EcsCompute(EcsSettings.model_validate(settings), FakeHost(tmp_path))

    return make_one


def request(**fields: Any) -> ComputeRequest:
    new = {"build_uuid": str(uuid4()), "attempt": 1, "token": uuid4().hex}
    return ComputeRequest(**{"endpoint": "http://192.0.2.1:8080", **new, **fields})


def calls(ecs: EcsServer) -> list[str]:
    return [name for name, _ in ecs.plane.calls]


async def test_hundreds_of_tasks_are_listed_whole_and_described_a_hundred_at_a_call(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    first = make()
    await first.open()
    ids = {await first.start(request()) for _ in range(103)}
    await first.close()
    idle.plane.calls.clear()

    second = make(poll="60 s")
    await second.open()

    assert {status.compute_id for status in await second.list()} == ids
    # two looks: when it opened, and for the list
    assert calls(idle).count("DescribeTasks") == 4
    await second.close()


async def test_a_token_is_told_to_its_own_task_alone_and_a_definition_is_registered_once(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    secret = uuid4().hex
    for token in (secret, "another"):
        node = make()
        await node.open()
        await node.start(request(token=token))
        await node.close()

    told = [name for name, given in idle.plane.calls if secret in json.dumps(given)]
    assert told == ["RunTask"]
    assert calls(idle).count("RegisterTaskDefinition") == 1


async def test_another_node_gets_the_same_task_for_the_same_attempt(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    idle.plane.faults.lists_lag = True
    asked = request()
    ids = set()
    for _ in range(2):
        node = make()
        await node.open()
        ids.add(await node.start(asked))
        await node.close()

    assert len(ids) == 1
    assert len(idle.plane.tasks()) == 1


async def test_a_node_with_other_settings_gets_the_task_that_was_started_before(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    asked = request()
    before, after = make(), make(stop_timeout=3)
    for node in (before, after):
        await node.open()
    compute_id = await before.start(asked)

    assert await after.start(asked) == compute_id
    assert len(idle.plane.tasks()) == 1
    for node in (before, after):
        await node.close()


async def test_a_task_of_which_ecs_waits_is_starting_and_can_be_stopped(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    idle.plane.faults.may_run.clear()
    compute = make()
    await compute.open()
    exits = Exits(compute)
    compute_id = await compute.start(request())
    assert (await compute.inspect(compute_id)).state == "starting"

    threading.Timer(0.2, idle.plane.faults.may_run.set).start()
    await compute.stop(compute_id, grace=0)

    assert (await exits.of(compute_id)).cause is ExitCause.STOPPED
    await compute.close()
    await exits.over()


async def test_an_answer_that_nobody_expected_does_not_end_the_watch(
    idle: EcsServer, make: Callable[..., EcsCompute], monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = make()
    refresh, odd = compute._refresh, asyncio.Event()

    async def stumble(*_: Any) -> None:
        monkeypatch.setattr(compute, "_refresh", refresh)
        odd.set()
        raise KeyError("lastStatus")

    await compute.open()
    exits = Exits(compute)
    compute_id = await compute.start(request())
    monkeypatch.setattr(compute, "_refresh", stumble)
    async with asyncio.timeout(60):
        await odd.wait()
        idle.plane.tasks()[0].ask_to_stop("UserInitiated", "Task stopped by user")
        assert (await exits.of(compute_id)).cause is ExitCause.INFRASTRUCTURE
    await compute.close()
    await exits.over()


async def test_a_task_stopped_by_someone_else_is_a_failure_of_the_platform(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    compute = make()
    await compute.open()
    exits = Exits(compute)
    compute_id = await compute.start(request())
    (task,) = idle.plane.tasks()

    task.ask_to_stop("UserInitiated", "Task stopped by user")

    ended = await exits.of(compute_id)
    assert ended.cause is ExitCause.INFRASTRUCTURE
    assert "someone else" in ended.detail
    await compute.close()
    await exits.over()


@pytest.mark.parametrize(
    ("code", "wanted", "said"),
    [
        ("ThrottlingException", CapacityUnavailable, "no room"),
        ("ServerException", CapacityUnavailable, "no room"),
        ("RequestExpired", CapacityUnavailable, "check the clock"),
        ("SignatureDoesNotMatch", CapacityUnavailable, "check the clock"),
        ("ExpiredTokenException", CapacityUnavailable, "renew its credentials"),
        ("AccessDeniedException", StartRefused, "kedge-node-policy.json"),
        ("UnrecognizedClientException", StartRefused, "does not know these credentials"),
        ("ClusterNotFoundException", StartRefused, "compute.ecs.cluster"),
        ("ClientException", StartRefused, "check [compute.ecs]"),
    ],
)
async def test_a_refusal_says_whether_waiting_helps_and_what_to_do(
    idle: EcsServer, make: Callable[..., EcsCompute], code: str, wanted: type[Exception], said: str
) -> None:
    compute = make()
    await compute.open()
    idle.plane.faults.errors["RunTask"].append(Refused(code, "no"))

    with pytest.raises(wanted, match=re.escape(said)):
        await compute.start(request())

    assert await compute.list() == []
    await compute.close()


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("RESOURCE:MEMORY", CapacityUnavailable),
        ("RESOURCE:CPU", CapacityUnavailable),
        ("RESOURCE:FARGATE", CapacityUnavailable),
        ("AGENT", CapacityUnavailable),
        ("MISSING", StartRefused),
    ],
)
async def test_a_failure_says_whether_there_may_be_room_later(
    idle: EcsServer, make: Callable[..., EcsCompute], reason: str, wanted: type[Exception]
) -> None:
    compute = make()
    await compute.open()
    idle.plane.faults.failures.append(reason)

    with pytest.raises(wanted, match=reason):
        await compute.start(request())

    assert await compute.list() == []
    await compute.close()


def pull_failed(said: str) -> str:
    return f"CannotPullContainerError: pull image manifest has been retried 7 time(s): {said}"


def not_prepared(said: str) -> str:
    return f"ResourceInitializationError: unable to pull secrets or registry auth: {said}"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (pull_failed("docker.io/library/no-such:1: not found"), ExitCause.REFUSED),
        (pull_failed("manifest unknown: Requested image not found"), ExitCause.REFUSED),
        (pull_failed("pull access denied, repository does not exist"), ExitCause.REFUSED),
        (pull_failed("unexpected status code 403 Forbidden"), ExitCause.REFUSED),
        (pull_failed("no match for platform in manifest"), ExitCause.REFUSED),
        (pull_failed("dial tcp 192.0.2.1:443: i/o timeout"), ExitCause.UNAVAILABLE),
        (pull_failed("toomanyrequests: You have reached your pull rate limit"), ExitCause.UNAVAILABLE),
        (pull_failed("unexpected status: 503 Service Unavailable"), ExitCause.UNAVAILABLE),
        (pull_failed("pull command failed: : signal: killed"), ExitCause.UNAVAILABLE),
        (not_prepared("AccessDeniedException: role is not authorized to perform"), ExitCause.REFUSED),
        (not_prepared("ResourceNotFoundException: Secrets Manager can't find it"), ExitCause.REFUSED),
        (not_prepared("RequestError: send request failed: context deadline exceeded"), ExitCause.UNAVAILABLE),
        ("Capacity is unavailable at this time. Please try again later", ExitCause.UNAVAILABLE),
        ("Unexpected EC2 error while attempting to create a network interface", ExitCause.INFRASTRUCTURE),
    ],
)
async def test_why_a_task_never_ran_tells_whether_to_give_up_to_wait_or_to_try_again(
    idle: EcsServer, make: Callable[..., EcsCompute], said: str, cause: ExitCause
) -> None:
    idle.plane.faults.pulls.append(said)
    compute = make()
    await compute.open()
    exits = Exits(compute)

    ended = await exits.of(await compute.start(request()))

    assert ended.cause is cause
    assert said in ended.detail
    await compute.close()
    await exits.over()


async def test_a_registry_of_its_own_is_asked_with_a_secret_that_kedge_never_sees(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:registry-a1b2c3"
    compute = make(registry_credentials=secret, execution_role="arn:aws:iam::123456789012:role/pull")
    await compute.open()
    await compute.start(request())
    await compute.close()

    (definition,) = [given for name, given in idle.plane.calls if name == "RegisterTaskDefinition"]
    (container,) = definition["containerDefinitions"]
    assert container["repositoryCredentials"] == {"credentialsParameter": secret}
    with pytest.raises(ValueError, match="set it too"):
        make(registry_credentials=secret)


async def test_code_from_outside_is_refused_without_a_network_of_its_own(
    make: Callable[..., EcsCompute],
) -> None:
    compute = make(untrusted_network=None)
    await compute.open()
    with pytest.raises(StartRefused, match="untrusted_network"):
        await compute.start(request(trusted=False))
    await compute.close()


async def test_a_loopback_address_is_refused(make: Callable[..., EcsCompute]) -> None:
    compute = make()
    await compute.open()
    with pytest.raises(StartRefused, match="cannot reach Kedge"):
        await compute.start(request(endpoint="http://127.0.0.1:8080"))
    await compute.close()


def test_fargate_is_asked_for_sizes_that_it_has() -> None:
    with pytest.raises(ValueError, match="MiB for this cpu: 512, 1024, 2048"):
        EcsSettings.model_validate(
            {"image": "i", "network": {"subnets": ["subnet-1"]}, "cpu": 256, "memory": "4 GiB"}
        )


async def test_the_policy_allows_what_is_called_and_nothing_else(
    idle: EcsServer, make: Callable[..., EcsCompute]
) -> None:
    for _ in range(2):
        compute = make()
        await compute.open()
        compute_id = await compute.start(request())
        await compute.inspect(compute_id)
        await compute.list()
        await compute.stop(compute_id, grace=0)
        await compute.close()
    policy = json.loads((ROOT / "configs/aws/kedge-node-policy.json").read_text())
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}

    # tags given to what is made need a right of their own, as does the role given to a task
    assert allowed == {f"ecs:{name}" for name in calls(idle)} | {"ecs:TagResource", "iam:PassRole"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs/aws").glob("*.json")), ids=lambda path: path.name)
def test_no_policy_has_a_wildcard_action(path: Path) -> None:
    policy = json.loads(path.read_text())
    actions = [action for statement in policy["Statement"] for action in statement["Action"]]
    assert actions
    assert not [action for action in actions if "*" in action]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 11}, "count"),
        ({"startedBy": "x" * 129}, "startedBy"),
        ({"clientToken": "x" * 65}, "clientToken"),
        ({"overrides": {"containerOverrides": [{"name": "x" * 8200}]}}, "8192"),
        ({"tags": [{"key": str(number)} for number in range(51)]}, "50 tags"),
        ({"tags": [{"key": "aws:x"}]}, "no tag"),
        ({"tags": [{"key": "x", "value": "a\nb"}]}, "no tag"),
    ],
)
def test_a_run_is_held_to_the_limits_that_the_service_model_does_not_tell(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        check_run(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ".taskDefinition: is required"),
        ({"taskDefinition": "x", "colour": "red"}, ".colour: is no member"),
        ({"taskDefinition": 1}, ".taskDefinition: string is expected"),
        ({"taskDefinition": "x", "launchType": "MOON"}, "'MOON' is none of"),
    ],
)
def test_a_request_is_held_to_the_service_model(given: dict[str, Any], said: str) -> None:
    shape = service_model().operation_model("RunTask").input_shape
    assert [one for one in mistakes(shape, given) if said in one]
