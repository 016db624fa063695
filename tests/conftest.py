"""What every test shares: nothing of the developer's own keys, agent, configuration or home."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def blank_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name == "SSH_AUTH_SOCK" or name.startswith(("INVOKE_", "FABRIC_")):
            monkeypatch.delenv(name)
    return home


@pytest.fixture
def inv(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `inv` with this project's tasks, in an empty folder."""

    def run(
        *words: str, stdin: str = "", cwd: Path = tmp_path, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **env},
            timeout=120,
            check=False,
        )

    return run
