from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kedge import Forge, NotFound, Repo, Unauthorized
from kedge.testing.fake_forge import FakeForge, FakeForgeSettings
from kedge.testing.fake_host import FakeHost
from kedge.testing.forge import ForgeSuite

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class TestFakeForge(ForgeSuite):
    @pytest.fixture
    async def forge(self, tmp_path: Path) -> FakeForge:
        return FakeForge(FakeForgeSettings(), FakeHost(tmp_path))

    async def commit(
        self,
        forge: Forge,
        repo: Repo,
        *,
        branch: str,
        message: str,
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        assert isinstance(forge, FakeForge)
        return forge.commit(repo, branch, message, files).commit_hash

    def test_a_webhook_it_made_is_parsed(self, forge: FakeForge, repo: Repo) -> None:
        push = forge.commit(repo)

        delivery = forge.parse(*forge.webhook(push, "one"))

        assert delivery is not None
        assert (delivery.delivery_id, delivery.pushes) == ("one", (push,))

    def test_a_changed_body_is_refused(self, forge: FakeForge, repo: Repo) -> None:
        headers, body = forge.webhook(forge.commit(repo))

        with pytest.raises(Unauthorized):
            forge.parse(headers, body + b" ")

    async def test_a_deleted_branch_is_gone_and_a_failure_is_raised_once(
        self, forge: FakeForge, repo: Repo
    ) -> None:
        forge.commit(repo, "main")
        forge.failures.append(RuntimeError("down"))

        with pytest.raises(RuntimeError, match="down"):
            await forge.resolve(repo, "main")
        forge.delete_branch(repo, "main")
        with pytest.raises(NotFound):
            await forge.resolve(repo, "main")
