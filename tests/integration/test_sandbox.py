"""The sandbox and the demonstration: the shortest ways to see the product work."""

from pathlib import Path

import pytest

pytest.importorskip("asyncssh")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "hostlists").mkdir()
    return tmp_path


def test_the_demonstration_ends_with_all_succeeded_and_nothing_left(
    inv, tmp_path: Path, blank_home: Path
) -> None:
    done = inv("demo", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 succeeded, 0 failed, 3 total") == 6
    assert "hello " in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert list(blank_home.iterdir()) == [], "it is not of the user's record"


def test_a_sandbox_comes_up_is_worked_on_and_goes(inv, project: Path, blank_home: Path) -> None:
    assert inv("sandbox.status").returncode == 1
    try:
        up = inv("sandbox.up", "--count", "4")
        assert (up.returncode, up.stdout) == (0, "4 servers are up. Try:  inv rcmd --hosts sandbox whoami\n")
        assert "4 servers" in inv("sandbox.status").stdout
        again = inv("sandbox.up")
        assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
        done = inv("rcmd", "--hosts", "sandbox", "--", "echo", "-n", "?HOST", "$HOME", ";", "exit", "0")
        assert "[sandbox4]" in done.stdout
        assert f"{project}/.sandbox/homes/sandbox3" in done.stdout
        assert done.returncode == 0
    finally:
        down = inv("sandbox.down")
    assert (down.returncode, down.stdout) == (0, "The sandbox is down.\n")
    assert not (project / ".sandbox").exists()
    assert not (project / "hostlists" / "sandbox.txt").exists()
    assert not (blank_home / ".ssh").exists()
    assert inv("sandbox.down").stdout == "The sandbox was not up.\n"


@pytest.mark.parametrize("count", ["0", "x"])
def test_a_bad_count_is_a_usage_error(inv, project: Path, count: str) -> None:
    done = inv("sandbox.up", "--count", count)
    assert (done.returncode, done.stderr) == (
        2,
        f"sandbox.up: --count {count}: must be a whole number, 1 or more\n",
    )
