"""The sample project, in an environment that has the installed wheel only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def done(*words: str | Path, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of a clean environment with the wheel of this project."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "results", "*.egg-info"))
    steps = [
        (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "wheels", source),
        (sys.executable, "-m", "venv", "--without-pip", tmp_path / "clean"),
    ]
    for words in steps:
        made = done(*words, cwd=tmp_path)
        if made.returncode and not os.environ.get("CI"):
            pytest.skip(f"no wheel without a package registry: {made.stderr.strip()[-200:]}")
        assert made.returncode == 0, made.stderr
    (wheel,) = (tmp_path / "wheels").iterdir()
    clean = tmp_path / "clean" / "bin" / "python"
    installed = done(sys.executable, "-m", "pip", "--python", clean, "install", "-q", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    return clean


def test_the_sample_project_passes_its_test_with_the_installed_wheel_only(
    sshd, python: Path, tmp_path: Path
) -> None:
    project = tmp_path / "web"
    shutil.copytree(ROOT / "examples" / "web", project)
    hosts = [f"127.1.0.{number} NAME={tmp_path.name}-{number % 2}" for number in range(1, 5)]
    sshd.write_list(tmp_path / "servers.txt", hosts)
    where = done(python, "-c", "import paramgmt_tasks; print(paramgmt_tasks.__file__)", cwd=project)
    assert where.stdout.startswith(str(tmp_path / "clean")), where.stderr
    names = "from importlib import metadata; print([d.name for d in metadata.distributions()])"
    packages = done(python, "-c", names, cwd=project).stdout
    assert "paramgmt-tasks" in packages
    assert "pytest" not in packages
    assert "asyncssh" not in packages
    tested = done(
        python, "-m", "unittest", "-v", cwd=project, INVOKE_PARAMGMT_HOSTS=str(tmp_path / "servers.txt")
    )
    assert tested.returncode == 0, tested.stderr
    assert "Ran 4 tests" in tested.stderr
    assert "skipped" not in tested.stderr
    for name in ("rcmd", "rscript", "paramgmt"):
        assert done(python.parent / name, "--version", cwd=project).stdout.strip().endswith("0.1.0")


def test_without_servers_it_tests_what_would_be_done() -> None:
    tested = done(sys.executable, "-m", "unittest", cwd=ROOT / "examples" / "web")
    assert tested.returncode == 0, tested.stderr
    assert "OK (skipped=2)" in tested.stderr
