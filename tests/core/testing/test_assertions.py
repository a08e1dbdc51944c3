"""What a plugin's author reads when a contract suite finds something."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEST = """
from kedge.testing.forge import ForgeSuite


class Nameless:
    name = "Not A Name"


def test_it():
    ForgeSuite.test_it_is_a_forge_with_a_name_and_frozen_settings(ForgeSuite(), Nameless())
"""


def test_a_suite_that_fails_shows_both_sides_of_its_assertion(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path,
        # where plugins load by themselves pytest knows the kit already
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "where False = isinstance(" in done.stdout


def test_the_kit_is_imported_without_pytest_where_nobody_tests() -> None:
    program = "import sys, kedge.testing, kedge.testing.node; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
