from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kedge_git.describe import Look, parse_looks

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
PATHS = st.lists(TEXT.filter(lambda path: path and path[0] != "/"), max_size=5)
HASH = "0123456789abcdef0123456789abcdef01234567"


@given(st.lists(st.tuples(TEXT, TEXT, PATHS)))
def test_commits_and_paths_are_told_apart_whatever_they_are_called(
    commits: list[tuple[str, str, list[str]]],
) -> None:
    output = "".join(
        f"/{HASH}\0{author}\0{message}\0" + ("\n" if paths else "") + "".join(f"{path}\0" for path in paths)
        for author, message, paths in commits
    )

    looks = parse_looks(output.encode())

    assert looks == [
        Look(author=author, message=message.strip(), paths=tuple(paths)) for author, message, paths in commits
    ]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(output: bytes) -> None:
    parse_looks(output)
