"""The logger: its records, its own tags and fields, its levels."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from kedge_tagged import get_logger, set_log_level, set_tags, with_log_tags

if TYPE_CHECKING:
    from tests.plugins.tagged.conftest import Lines


class Nasty:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_record_has_message_level_time_and_tags(lines: Lines) -> None:
    get_logger(target=lines).info("paid")
    assert set(lines.last) == {"message", "level", "time", "tags"}
    assert lines.last["message"] == "paid"
    assert lines.last["level"] == "info"
    assert lines.last["tags"] == {}
    assert datetime.fromisoformat(lines.last["time"]).utcoffset() is not None


def test_without_a_target_a_line_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger().info("paid")
    seen = capsys.readouterr()
    assert seen.out == ""
    assert json.loads(seen.err)["message"] == "paid"


def test_several_messages_are_joined_and_values_become_json(lines: Lines) -> None:
    get_logger(target=lines).info("item", {"id": 7}, [1, None])
    assert lines.last["message"] == 'item {"id": 7} [1, null]'


@pytest.mark.parametrize("level", ["debug", "info", "log", "warn", "error"])
def test_every_method_writes_its_level(lines: Lines, level: str) -> None:
    getattr(get_logger(target=lines), level)("x")
    assert lines.last["level"] == level


@pytest.mark.parametrize(
    ("minimum", "written"),
    [
        ("debug", ["debug", "info", "log", "warn", "error"]),
        ("info", ["info", "log", "warn", "error"]),
        ("log", ["info", "log", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_info_and_log_are_of_the_same_weight(lines: Lines, minimum: str, written: list[str]) -> None:
    log = get_logger(target=lines, minimum_level=minimum)
    for level in ("debug", "info", "log", "warn", "error"):
        getattr(log, level)("x")
    assert [record["level"] for record in lines.records] == written


def test_with_tags_makes_another_logger_and_leaves_the_first_alone(lines: Lines) -> None:
    log = get_logger(target=lines)
    log.with_tags(order=1).with_tags(item="anchor").info("x")
    assert lines.tags == {"order": 1, "item": "anchor"}
    log.info("x")
    assert lines.tags == {}


def test_a_loggers_tags_win_over_the_contexts(lines: Lines) -> None:
    log = get_logger(target=lines).with_tags(tenant="own")
    with with_log_tags(tenant="context", region="fra"):
        log.info("x")
        assert log.get_tags() == {"tenant": "own", "region": "fra"}
    assert lines.tags == {"tenant": "own", "region": "fra"}


def test_tags_are_copied_when_they_are_given(lines: Lines) -> None:
    items = ["anchor"]
    log = get_logger(target=lines).with_tags(items=items).with_fields(kept=items)
    items.append("rope")
    log.info("x")
    assert lines.tags["items"] == ["anchor"]
    assert lines.last["kept"] == ["anchor"]


def test_fields_stand_beside_the_message_and_may_replace_level_and_time(lines: Lines) -> None:
    log = get_logger(target=lines)
    log.with_fields(amount=12, level="notice", time="now").info("x")
    assert lines.last == {"message": "x", "level": "notice", "time": "now", "tags": {}, "amount": 12}
    log.info("x")
    assert "amount" not in lines.last


def test_a_field_never_replaces_the_message(lines: Lines) -> None:
    get_logger(target=lines).with_fields(message="other").info("x")
    assert lines.last["message"] == "x"


def test_a_loggers_level_wins_over_the_contexts_and_that_over_the_minimum(lines: Lines) -> None:
    log = get_logger(target=lines, minimum_level="error")
    with with_log_tags():
        log.warning("held back by the minimum")
        set_log_level("warn")
        log.info("held back by the context")
        log.warning("let through by the context")
        log.with_log_level("debug").debug("let through by the logger")
        log.with_log_level("error").warn("held back by the logger")
    assert [record["message"] for record in lines.records] == [
        "let through by the context",
        "let through by the logger",
    ]


def test_a_level_is_written_only_if_one_was_set_by_hand(lines: Lines) -> None:
    log = get_logger(target=lines, minimum_level="info")
    log.info("x")
    assert "$logger.level" not in lines.tags
    log.with_log_level("info").info("x")
    assert lines.tags["$logger.level"] == "info"
    with with_log_tags():
        set_log_level("debug")
        log.info("x")
        assert lines.tags["$logger.level"] == "debug"


def test_a_level_that_is_none_is_refused(lines: Lines) -> None:
    with pytest.raises(ValueError, match="loud"):
        get_logger(minimum_level="loud")
    with pytest.raises(ValueError, match="loud"):
        get_logger(target=lines).with_log_level("loud")


def test_setting_tags_without_a_context_does_nothing_and_says_so_on_demand(lines: Lines) -> None:
    get_logger(target=lines).set_tags(order=1)
    assert lines.records == []
    get_logger(target=lines, debug=True).set_tags(order=1)
    assert lines.last["level"] == "debug"
    assert lines.tags == {}


def test_a_logger_sets_tags_of_the_context(lines: Lines) -> None:
    log = get_logger(target=lines)
    with with_log_tags():
        log.set_tags(order=1)
        set_tags(item="anchor")
        get_logger(target=lines).info("x")
    assert lines.tags == {"order": 1, "item": "anchor"}


@pytest.mark.parametrize("where", ["field", "tag"])
def test_what_cannot_be_written_is_named_and_the_rest_of_the_line_stays(lines: Lines, where: str) -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    log = get_logger(target=lines).with_tags(order=1).with_fields(amount=12)
    for odd in (circle, {(1, 2): 3}, Nasty()):
        (log.with_fields(odd=odd) if where == "field" else log.with_tags(odd=odd)).info("x")
        place = lines.last if where == "field" else lines.tags
        assert place["odd"] == "[unserializable object]"
        assert lines.tags["order"] == 1
        assert lines.last["amount"] == 12
        assert lines.last["message"] == "x"


def test_a_message_that_cannot_be_written_is_named(lines: Lines) -> None:
    circle: list[Any] = []
    circle.append(circle)
    get_logger(target=lines).info("list:", circle, Nasty())
    assert lines.last["message"] == "list: [unserializable object] [unserializable object]"


def test_a_warning_is_a_warn(lines: Lines) -> None:
    get_logger(target=lines, minimum_level="warn").warning("x")
    assert lines.last["level"] == "warn"
