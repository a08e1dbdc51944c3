"""Pictures of how long requests took."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from kedge.cli.duration_plot import save_plot
from kedge.cli.failure import CommandFailed
from kedge.workers.places.durations import Durations, Series

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def series() -> list[dict[str, Any]]:
    durations = Durations()
    for number in range(200):
        durations.record("w", Series("/", "sydney", False), 2500.0 + number)
        durations.record("w", Series("/", "frankfurt", True), 340.0 + number / 10)
    return [one for one in durations.show("w") if one["route"] == "*"]


def test_an_svg_says_in_words_what_it_shows(tmp_path: Path, series: list[dict[str, Any]]) -> None:
    path = tmp_path / "durations.svg"
    save_plot(path, "hello, seen from sydney", series)

    root = ET.parse(path).getroot()  # noqa: S314  (written a moment ago)
    said = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "hello, seen from sydney" in said
    assert "not placed: 200 requests, median 25" in said
    assert "placed: 200 requests, median 3" in said
    assert "% of requests" in said


def test_a_png_is_one(tmp_path: Path, series: list[dict[str, Any]]) -> None:
    path = tmp_path / "durations.png"
    save_plot(path, "hello", series[:1])

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, series: list[dict[str, Any]]) -> None:
    with pytest.raises(CommandFailed, match=r"cannot write .*missing.*No such file"):
        save_plot(tmp_path / "missing" / "durations.svg", "hello", series)


def test_without_the_library_the_message_says_how_to_get_it(
    tmp_path: Path, series: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(CommandFailed, match=r"pip install 'kedge\[plots\]'"):
        save_plot(tmp_path / "durations.svg", "hello", series)
