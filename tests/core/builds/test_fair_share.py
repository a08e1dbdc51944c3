from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kedge.builds.fair_share import in_turn
from kedge.db.queries.queue import Waiting


def waiting(build_id: int, account: str = "a", *, production: bool = False) -> Waiting:
    return Waiting(
        build_id=build_id,
        build_uuid=f"uuid-{build_id}",
        account_id=account,
        account=account,
        worker="w",
        is_production=production,
        attempt=0,
        wait_reason=None,
    )


def ids(builds: list[Waiting], running: dict[str, int] | None = None, *, limit: int = 6) -> list[int]:
    return [build.build_id for build in in_turn(builds, running or {}, limit=limit)]


def test_within_an_account_the_first_to_come_is_the_first_to_start() -> None:
    assert ids([waiting(3), waiting(1), waiting(2)]) == [1, 2, 3]


def test_production_goes_before_previews() -> None:
    assert ids([waiting(1), waiting(2, production=True)]) == [2, 1]


def test_an_account_never_gets_more_than_its_limit() -> None:
    assert ids([waiting(number) for number in range(10)], {"a": 4}, limit=6) == [0, 1]


def test_the_account_that_runs_the_fewest_comes_first() -> None:
    greedy = [waiting(number, "greedy") for number in range(1, 5)]

    assert ids([*greedy, waiting(5, "modest")], {"greedy": 2}) == [5, 1, 2, 3, 4]


def test_accounts_take_turns_however_much_one_of_them_queues() -> None:
    greedy = [waiting(number, "greedy") for number in range(1, 4)]
    modest = [waiting(number, "modest") for number in range(4, 6)]

    assert ids([*greedy, *modest]) == [1, 4, 2, 5, 3]


def test_a_full_account_does_not_hold_up_another() -> None:
    assert ids([waiting(1, "full"), waiting(2, "free")], {"full": 6}) == [2]


@given(
    builds=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30),
    running=st.dictionaries(st.sampled_from("abc"), st.integers(0, 8)),
    limit=st.integers(1, 8),
)
def test_whatever_waits_limits_hold_and_no_room_is_left_unused(
    builds: list[tuple[str, bool]], running: dict[str, int], limit: int
) -> None:
    queued = [waiting(number, account, production=live) for number, (account, live) in enumerate(builds)]

    chosen = list(in_turn(queued, running, limit=limit))

    for account in "abc":
        mine = [build for build in chosen if build.account_id == account]
        room = max(limit - running.get(account, 0), 0)
        assert len(mine) == min(room, sum(build.account_id == account for build in queued))
        assert mine == sorted(mine, key=lambda build: (not build.is_production, build.build_id))
