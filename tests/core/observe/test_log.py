"""What Kedge writes about itself: form, level, tags, secrets, foreign libraries."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from kedge.observe.log import configure
from kedge.observe.redaction import HIDDEN
from kedge.observe.tags import bound
from kedge_tagged.processors import collect_tags, render_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


def written(captured: Captured) -> list[dict[str, Any]]:
    seen = captured.readouterr()
    assert seen.out == ""
    return [json.loads(line) for line in seen.err.splitlines()]


def json_log(level: str = "info", **tags: str) -> Any:
    configure(processors=[], format="json", level=level, **tags)
    return structlog.get_logger("test")


def test_json_is_one_line_an_event(capsys: Captured) -> None:
    json_log(node="n1").info("begun", build="b-1", text="two\nlines")
    [line] = written(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "begun", "level": "info", "node": "n1", "build": "b-1", "text": "two\nlines"}


def test_auto_is_json_where_there_is_no_terminal(capsys: Captured) -> None:
    configure(processors=[], format="auto", level="info")
    structlog.get_logger().info("begun")
    assert written(capsys)[0]["event"] == "begun"


def test_console_is_readable_and_without_colours_where_there_is_no_terminal(capsys: Captured) -> None:
    configure(processors=[], format="console", level="info", node="n1")
    structlog.get_logger().info("begun", took=3)
    text = capsys.readouterr().err
    assert "begun" in text
    assert "took=3" in text
    assert "node=n1" in text
    assert "\x1b" not in text


def test_console_drives_no_terminal_by_what_others_wrote(capsys: Captured) -> None:
    configure(processors=[], format="console", level="info")
    structlog.get_logger().info("begun", path="/\x1b[2J\x9b2Jx")
    logging.getLogger("somebody").warning("from \x1b]0;owned\x07afar")
    text = capsys.readouterr().err
    assert "path=/x" in text
    assert "from afar" in text
    assert not any(one in text for one in "\x1b\x9b\x07")


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_error_is_written_with_its_stack(capsys: Captured, form: Any) -> None:
    configure(processors=[], format=form, level="info")
    try:
        int("bad")
    except ValueError:
        structlog.get_logger().exception("failed")
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "ValueError: invalid literal" in text


def test_less_than_the_level_is_not_written(capsys: Captured) -> None:
    log = json_log("warning")
    log.info("no")
    log.warning("yes")
    assert [line["event"] for line in written(capsys)] == ["yes"]


def test_tags_are_on_the_lines_of_threads_too(capsys: Captured) -> None:
    log = json_log(node="n1")
    thread = threading.Thread(target=lambda: log.info("begun"))
    thread.start()
    thread.join()
    assert written(capsys)[0]["node"] == "n1"


def test_bound_tags_end_with_their_block(capsys: Captured) -> None:
    log = json_log(node="n1")
    with bound(build="b-1"):
        log.info("inside")
    log.info("outside")
    inside, outside = written(capsys)
    assert (inside["build"], inside["node"]) == ("b-1", "n1")
    assert "build" not in outside


@pytest.mark.parametrize(
    "name", ["token", "API_TOKEN", "password", "client_secret", "Authorization", "cookies"]
)
def test_a_value_whose_name_says_that_it_is_secret_is_hidden(capsys: Captured, name: str) -> None:
    json_log().info("begun", **{name: "hunter2"})
    [line] = written(capsys)
    assert line[name] == HIDDEN


def test_an_address_is_written_without_what_is_secret_in_it(capsys: Captured) -> None:
    json_log().info("asked", path="/builds/deploy_hooks/7f1c?token=hunter2")
    [line] = written(capsys)
    assert line["path"] == f"/builds/deploy_hooks/{HIDDEN}"


def test_secrets_in_tables_are_hidden_and_the_table_itself_is_left_alone(capsys: Captured) -> None:
    headers = {"authorization": "hunter2", "deeper": {"token": "hunter2"}, "host": "h"}
    json_log().info("begun", headers=headers)
    [line] = written(capsys)
    assert line["headers"] == {"authorization": HIDDEN, "deeper": {"token": HIDDEN}, "host": "h"}
    assert headers["authorization"] == "hunter2"


def test_secrets_among_tags_are_hidden(capsys: Captured) -> None:
    configure(processors=[collect_tags, render_errors], format="json", level="info", node="n1")
    with bound(token="hunter2"):
        structlog.get_logger().info("begun")
    [line] = written(capsys)
    assert line["tags"] == {"node": "n1", "token": HIDDEN}


def test_values_that_json_cannot_hold_do_not_lose_the_line(capsys: Captured) -> None:
    circle: list[Any] = []
    circle.append(circle)
    log = json_log()
    for odd in ("\udcff", 2**70, circle, {1: object()}):
        log.info("begun", odd=odd)
    assert [line["event"] for line in written(capsys)] == ["begun"] * 4


def test_foreign_lines_go_the_same_way(capsys: Captured) -> None:
    json_log("debug", node="n1")
    foreign = logging.getLogger("some.library")
    foreign.info("chatter")
    foreign.warning("disk %s is full", "sda")
    [line] = written(capsys)
    assert line["event"] == "disk sda is full"
    assert (line["level"], line["node"]) == ("warning", "n1")


def test_foreign_errors_keep_their_stack(capsys: Captured) -> None:
    configure(processors=[collect_tags, render_errors], format="json", level="info")
    try:
        int("bad")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    [line] = written(capsys)
    assert "ValueError: invalid literal" in line["error"]


def test_configuring_twice_writes_every_line_once(capsys: Captured) -> None:
    json_log()
    json_log().info("ours")
    logging.getLogger("some.library").warning("theirs")
    assert [line["event"] for line in written(capsys)] == ["ours", "theirs"]
