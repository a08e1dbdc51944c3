from __future__ import annotations

import string
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from kedge_git.updates import RefUpdate, is_branch_name, parse_updates

HASHES = st.text("0123456789abcdef", min_size=40, max_size=40)
NAMES = st.text(string.ascii_letters + ".-/@{}~^:?*[\\ _é\x7f", min_size=1, max_size=12)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(text: bytes) -> None:
    for update in parse_updates(text):
        assert update.ref.startswith(b"refs/")


@given(st.lists(st.tuples(HASHES, HASHES, NAMES.filter(lambda name: "\n" not in name))))
def test_lines_as_git_writes_them_are_read_back(lines: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{old} {new} refs/heads/{name}\n" for old, new, name in lines).encode()

    updates = parse_updates(text)

    zero = "0" * 40
    expected = [
        RefUpdate(
            ref=f"refs/heads/{name}".encode(),
            old=None if old == zero else old,
            new=None if new == zero else new,
        )
        for old, new, name in lines
    ]
    assert updates == expected


def test_branch_names_are_those_that_git_allows() -> None:
    names = ["main", "a/b", "a.lock", "a.lock/b", ".a", "a/.b", "a..b", "a.", "a/", "/a", "a//b", "a@{b", "@"]
    names += ["a b", "a~", "a^", "a:", "a?", "a*", "a[", "a\\", "a\x7f", "é", "HEAD", "a@b", "{}", "a;b"]
    for name in names:
        checked = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False)
        allowed = checked.returncode == 0 and name != "@"
        assert is_branch_name(name) is allowed, name
