"""Where output waits."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedge_runner.ring import Ring
from kedge_runner.spool import Spool

#: bytes to write, or a number of them to take
steps = st.lists(st.binary(max_size=40) | st.integers(1, 40), max_size=60)


@given(steps, st.integers(1, 50), st.integers(1, 50))
def test_a_spool_gives_back_what_it_was_given(steps: list[bytes | int], memory: int, disk: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        spool, model = Spool(str(path), memory=memory, disk=disk), b""
        for step in steps:
            if isinstance(step, bytes):
                spool.write(step)
                model += step
            else:
                taken = spool.take(step)
                assert model.startswith(taken)
                assert bool(taken) == bool(model)
                assert len(taken) <= step
                model = model[len(taken) :]
            assert len(spool) == len(model)
        assert not path.exists() or path.stat().st_size <= disk
        assert b"".join(iter(lambda: spool.take(7), b"")) == model
        assert spool.has_room_in_memory
        spool.close()


@given(steps, st.integers(1, 50))
def test_a_ring_is_a_queue_of_bytes(steps: list[bytes | int], capacity: int) -> None:
    with TemporaryDirectory() as folder:
        ring, model = Ring(f"{folder}/ring", capacity), b""
        for step in steps:
            if isinstance(step, bytes):
                done = ring.put(step)
                assert done == min(len(step), capacity - len(model))
                model += step[:done]
            else:
                got = ring.get(step)
                assert model.startswith(got)
                assert bool(got) == bool(model)
                model = model[len(got) :]
            assert (len(ring), ring.room) == (len(model), capacity - len(model))
        ring.close()


def test_a_quiet_build_writes_no_file(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    spool.write(b"x" * 100_000)

    assert spool.take(200_000) == b"x" * 100_000
    assert not list(tmp_path.iterdir())
    spool.close()


def test_there_is_no_room_once_memory_and_disk_are_full(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"), memory=10, disk=10)

    spool.write(b"a" * 10)
    assert (spool.has_room_in_memory, spool.has_room) == (False, True)
    spool.write(b"b" * 10)
    assert not spool.has_room
    assert spool.take(20) == b"a" * 10 + b"b" * 10
    assert spool.has_room
    spool.close()


def test_without_a_disk_nothing_is_lost_and_no_more_is_taken_than_memory_holds(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "missing" / "spool"), memory=10, disk=1000)

    spool.write(b"a" * 10)
    spool.write(b"b" * 10)

    assert not spool.has_room
    assert b"".join(iter(lambda: spool.take(100), b"")) == b"a" * 10 + b"b" * 10
    assert spool.has_room
    spool.close()


def test_the_file_is_for_one_user_and_follows_no_link(tmp_path: Path) -> None:
    ring = Ring(str(tmp_path / "ring"), 10)
    ring.put(b"x")
    assert (tmp_path / "ring").stat().st_mode & 0o777 == 0o600
    ring.close()
    (tmp_path / "link").symlink_to(tmp_path / "ring")

    with pytest.raises(OSError, match="symbolic"):
        Ring(str(tmp_path / "link"), 10).put(b"y")
