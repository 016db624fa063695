"""Benchmarks: the recipes on this machine and on hosts, broken off, failing, and one of one's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from helpers import free_port, running, until

from paramgmt_tasks.recipes import uds_vs_tcp

ROOT = Path(__file__).parent.parent.parent
PROGRAMS = ROOT / "paramgmt_tasks" / "recipes" / "programs"
SMALL = ("--sizes", "1,1000", "--runs", "2", "--packets", "200", "--warmup", "0")


@pytest.fixture(scope="module")
def sshd(start_sshd):
    """Hosts whose commands begin in a home of their own, not in that of whoever runs the tests."""
    return start_sshd('ForceCommand cd "$HOME" && exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    inv = [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words]
    return subprocess.Popen(
        inv, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def run(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return programs.run("inv", "--search-root", str(ROOT), *words, cwd=folder)


def newest(folder: Path, name: str) -> Path:
    return max(path.parent for path in (folder / "results" / name).glob("*/plan.json"))


def lists(sshd, tmp_path: Path, receivers: int = 2) -> list[str]:
    names = [host.entry for host in sshd.hosts(4)]
    sshd.write_list(tmp_path / "receivers.txt", names[:receivers])
    sshd.write_list(tmp_path / "senders.txt", names[2:])
    return ["--receivers", "receivers.txt", "--senders", "senders.txt"]


@pytest.mark.parametrize(
    ("runtime", "transport"),
    [("python", name) for name in uds_vs_tcp.TRANSPORTS]
    + [("node", name) for name in uds_vs_tcp.NODE_TRANSPORTS],
)
def test_a_ping_pong_counts_every_byte(transport: str, runtime: str) -> None:
    if runtime == "node" and shutil.which("node") is None:
        pytest.skip("needs node")
    words = f"--runtime {runtime} --transport {transport} --size 30000 --packets 50".split()
    done = subprocess.run(
        [sys.executable, PROGRAMS / "ping_pong.py", *words], capture_output=True, text=True, check=True
    )
    sample = json.loads(done.stdout)
    assert sample["transport"] == transport
    assert sample["runtime"].startswith(runtime)
    assert 0 < sample["p50_us"] <= sample["p99_us"] <= sample["p99.9_us"]
    assert sample["nodelay"] is (True if transport == "tcp" else None)
    assert sample["messages_per_s"] == pytest.approx(50 / sample["ms"] * 1000)
    assert sample["mb_per_s"] == pytest.approx(sample["messages_per_s"] * 2 * 30000 / 1e6)


def test_uds_vs_tcp_on_this_machine_writes_all_there_is(tmp_path: Path) -> None:
    done = run(tmp_path, "benchmark.uds-vs-tcp", *SMALL)
    assert done.returncode == 0, done.stderr
    folder = newest(tmp_path, "uds-vs-tcp")
    lines = (folder / "uds_vs_tcp.csv").read_text().splitlines()
    assert lines[0] == "NAME, RUN 0, RUN 1,"
    assert [line.split(",")[0] for line in lines[1:]] == [
        "UDS Size 1",
        "UDS Size 1000",
        "TCP Size 1",
        "TCP Size 1000",
    ]
    assert all(float(cell) > 0 for line in lines[1:] for cell in line.split(", ")[1:-1])
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 8 == len((folder / "samples.csv").read_text().splitlines()) - 1
    machine = json.loads((folder / "machine.json").read_text())
    assert machine["before"]["localhost"]["cores"] == os.cpu_count()
    assert "load" in machine["after"]["localhost"]
    page = (folder / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "https://matplotlib.org", ""
    ).replace("http://creativecommons.org", "")
    assert page.count("<svg") == 2
    for name in ("execution_time", "relative_time"):
        assert (folder / f"{name}.svg").exists()
        assert (folder / f"{name}.png").exists()
    assert "uds / tcp" in done.stdout
    assert "█" in done.stdout


def test_a_sweep_killed_goes_on_where_it_stopped(tmp_path: Path) -> None:
    words = ("benchmark.uds-vs-tcp", "--sizes", "1,1000", "--runs", "4", "--packets", "5000")
    process = start(tmp_path, *words)
    until(lambda: len(list(tmp_path.glob("results/uds-vs-tcp/*/points/*.json"))) >= 3)
    process.kill()
    process.communicate()
    folder = newest(tmp_path, "uds-vs-tcp")
    before = {path.name: path.read_text() for path in (folder / "points").glob("*.json")}
    assert len(before) < 16
    until(lambda: not running(str(tmp_path)))
    done = run(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert f"going on in {folder.relative_to(tmp_path)}" in done.stderr
    after = {path.name: path.read_text() for path in (folder / "points").glob("*.json")}
    assert len(after) == 16
    assert before.items() <= after.items()
    lines = (folder / "uds_vs_tcp.csv").read_text().splitlines()
    assert [len([cell for cell in line.split(",") if cell.strip()]) for line in lines] == [5] * 5
    again = run(tmp_path, *words, "--dry-run")
    assert len(again.stdout.splitlines()) == 1 + 2 + 4 + 16  # hosts, files, warm-up and runs
    assert run(tmp_path, *words[:-1], "10").returncode == 0
    assert newest(tmp_path, "uds-vs-tcp") != folder, "what is finished, or another plan, begins anew"


def test_ctrl_c_shows_what_there_is_and_leaves_no_process(tmp_path: Path) -> None:
    words = ("benchmark.uds-vs-tcp", "--sizes", "1", "--runs", "30", "--packets", "20000")
    process = start(tmp_path, *words)
    until(lambda: len(list(tmp_path.glob("results/uds-vs-tcp/*/points/*.json"))) >= 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; " in err
    assert "the same command goes on with them" in err
    assert "uds / tcp" in out
    until(lambda: not running(str(tmp_path)))


def test_uds_vs_tcp_on_hosts(sshd, options: list[str], tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts.txt", [host.entry for host in sshd.hosts(3)])
    words = ("--sizes", "1", "--runs", "2", "--packets", "200", "--warmup", "0")
    before = sshd.log.count("Accepted")
    done = run(tmp_path, "benchmark.uds-vs-tcp", "--hosts", "hosts.txt", *words, *options)
    assert done.returncode == 0, done.stderr
    assert sshd.log.count("Accepted") - before == 3, "each host is connected once for all steps"
    folder = newest(tmp_path, "uds-vs-tcp")
    assert sorted(path.name for path in (folder / "hosts").iterdir()) == [h.entry for h in sshd.hosts(3)]
    assert len((folder / "samples.jsonl").read_text().splitlines()) == 3 * 4
    assert len((folder / "uds_vs_tcp.csv").read_text().splitlines()) == 1 + 3 * 2
    point = json.loads(next((folder / "points").iterdir()).read_text())
    assert point["result"]["hosts"] == 3
    assert point["result"]["skew_ms"] >= 0


def test_a_host_that_is_down_is_named_and_the_others_are_measured(sshd, tmp_path: Path) -> None:
    names = [sshd.host().entry, "127.1.9.9 Port=1"]
    sshd.write_list(tmp_path / "hosts.txt", names)
    done = run(tmp_path, "benchmark.uds-vs-tcp", "--hosts", "hosts.txt", *SMALL)
    assert done.returncode == 1
    assert "push failed on 127.1.9.9: connection refused" in done.stderr
    assert "failed: 127.1.9.9: push: connection refused" in done.stdout
    assert len((newest(tmp_path, "uds-vs-tcp") / "samples.jsonl").read_text().splitlines()) == 8


@pytest.mark.parametrize("pairing", ["one-to-one", "all-to-all", "incast"])
@pytest.mark.parametrize("tool", ["builtin", "iperf3"])
def test_the_network_between_senders_and_receivers(sshd, tmp_path: Path, tool: str, pairing: str) -> None:
    if tool == "iperf3" and shutil.which("iperf3") is None:
        pytest.skip("needs iperf3")
    where = lists(sshd, tmp_path, receivers=1 if pairing == "incast" else 2)
    port = str(free_port(following=3))
    words = ["--seconds", "0.6" if tool == "builtin" else "1", "--runs", "1", "--base-port", port]
    done = run(tmp_path, "benchmark.network", *where, "--tool", tool, "--pairing", pairing, *words)
    assert done.returncode == 0, done.stderr
    lines = (newest(tmp_path, "network") / "samples.jsonl").read_text().splitlines()
    pairs = {(s["host"], s["receiver"]) for s in map(json.loads, lines)}
    receivers, senders = [h.entry for h in sshd.hosts(2)], [h.entry for h in sshd.hosts(4)[2:]]
    expected = {
        "one-to-one": set(zip(senders, receivers, strict=True)),
        "all-to-all": {(sender, receiver) for sender in senders for receiver in receivers},
        "incast": {(sender, receivers[0]) for sender in senders},
    }
    assert pairs == expected[pairing]
    assert all(json.loads(line)["mbit_per_s"] > 0 for line in lines)
    until(lambda: not running(f"-p {port}") + running(f"--port {port}"))


def test_the_network_over_every_engine(sshd, options: list[str], tmp_path: Path) -> None:
    port = str(free_port(following=3))
    words = ["--seconds", "0.3", "--runs", "2", "--base-port", port]
    before = sshd.log.count("Accepted")
    done = run(tmp_path, "benchmark.network", *lists(sshd, tmp_path), *words, *options)
    assert done.returncode == 0, done.stderr
    samples = (newest(tmp_path, "network") / "samples.jsonl").read_text().splitlines()
    assert len(samples) == 4
    assert sshd.log.count("Accepted") - before == 4 + 2, "receivers are looked at while they run"
    until(lambda: not running(f"--port {port}"))


def test_a_receiver_that_is_killed_is_told_and_nothing_is_left(sshd, tmp_path: Path) -> None:
    port = str(free_port(following=3))
    words = ["--seconds", "1", "--runs", "3", "--base-port", port]
    process = start(tmp_path, "benchmark.network", *lists(sshd, tmp_path), *words)
    until(lambda: list(tmp_path.glob("results/network/*/points/*run=0.json")))
    mark = f"net_receiver.py --port {port} --bind 127.1.0.1"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words_of = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark in b" ".join(words_of).decode(errors="replace") and words_of[0].startswith(b"python"):
            os.kill(int(path.parent.name), signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "receivers ended on 127.1.0.1" in out
    until(lambda: not running(f"--port {port}"))


def test_a_port_that_is_taken_is_told(sshd, tmp_path: Path) -> None:
    done = run(tmp_path, "benchmark.network", *lists(sshd, tmp_path), "--base-port", str(sshd.port))
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_on_a_host_is_told(sshd, tmp_path: Path) -> None:
    sshd.write_list(tmp_path / "hosts.txt", [sshd.host().entry])
    done = run(tmp_path, "benchmark.uds-vs-tcp.push", "--hosts", "hosts.txt", *SMALL)
    assert done.returncode == 0, done.stderr
    place = sshd.home / ".paramgmt" / "uds-vs-tcp" / sshd.host().entry / "results.jsonl"
    for step in ("run", "pull", "analyze"):
        if step == "run":
            place.with_suffix(".jsonl").unlink(missing_ok=True)
            program = place.with_name("ping_pong.py")
            program.write_text(program.read_text().replace("given.output, ", "'/dev/full', "))
        done = run(tmp_path, f"benchmark.uds-vs-tcp.{step}", "--hosts", "hosts.txt", *SMALL)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_input_is_one_line_and_status_2(tmp_path: Path) -> None:
    for words, message in (
        (["benchmark.network"], "network: no receivers: name their list with --receivers FILE"),
        (["benchmark.uds-vs-tcp", "--sizes", "x"], "uds-vs-tcp: --sizes x: must be bytes"),
        (["benchmark.uds-vs-tcp", "--sizs", "3"], "no option '--sizs'"),
        (["benchmark.network.push", "--sender", "x"], "no option '--sender'"),
        (["rhosts", "--hots", "x"], "rhosts: no option '--hots' (near: --hosts): see inv rhosts --help"),
        (["benchmark.network", "--senders", "none"], "network: host list none: no such file or directory"),
        (["benchmark.uds-vs-tcp", "--order", "any"], "--order any: must be one of interleaved, random"),
        (["benchmark.uds-vs-tcp.pull"], "no results yet: run the benchmark first"),
        (["benchmark.compare", "a", "b"], "compare: a: no results of a benchmark"),
    ):
        done = run(tmp_path, *words)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_without_matplotlib_a_line_says_how_to_get_charts(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    process = subprocess.run(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "benchmark.uds-vs-tcp", *SMALL],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "pip install 'paramgmt-tasks[benchmark]'" in process.stderr
    assert (newest(tmp_path, "uds-vs-tcp") / "report.html").exists()


OWN = """
from invoke import Collection
from paramgmt_tasks import Recipe, Role, benchmark

ANSWER = '''
test "$(cat limit)" = 7
echo '{"name": "?POINT", "answer": '$((?n * ?FACTOR))'}' >> answers.jsonl
test ?n != 3
'''
sums = Recipe(
    "sums",
    roles=(
        Role("servers", "sleep 600 & echo '{}' > up; wait", ready="test -e up", results=("up",)),
        Role("clients", ANSWER, config={"limit": "?FACTOR"}, results=("answers.jsonl",)),
    ),
    build="echo built > built.txt",
    parameters={"n": [1, 2, 3]},
    runs=2,
    variables=lambda cycle: {"clients": [{"FACTOR": str(10 + n)} for n in (0, 1)]},
    metric="answer",
)
ns = Collection(benchmark(sums))
"""


def test_a_recipe_of_ones_own(sshd, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(OWN)
    names = [host.entry for host in sshd.hosts(3)]
    sshd.write_list(tmp_path / "servers.txt", names[:1])
    sshd.write_list(tmp_path / "clients.txt", names[1:])
    done = inv(tmp_path, "sums", "--servers", "servers.txt", "--clients", "clients.txt")
    assert (tmp_path / "built.txt").exists()
    assert done.returncode == 1, done.stderr
    assert "n=3,run=0" in done.stdout, "the choice that fails is named"
    folder = newest(tmp_path, "sums")
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    answers = {(s["host"], s["name"]): s["answer"] for s in samples if "answer" in s}
    assert answers[names[1], "n=2,run=1"] == 20
    assert answers[names[2], "n=2,run=1"] == 22
    assert (folder / "report.html").exists()


def inv(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return programs.run("inv", *words, cwd=folder)


def test_results_are_analysed_from_their_folder_alone(sshd, tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(OWN.replace("test ?n != 3", "true").replace("[1, 2, 3]", "[1, 2]"))
    names = [host.entry for host in sshd.hosts(3)]
    sshd.write_list(tmp_path / "servers.txt", names[:1])
    sshd.write_list(tmp_path / "clients.txt", names[1:])
    done = inv(tmp_path, "sums", "--servers", "servers.txt", "--clients", "clients.txt")
    assert done.returncode == 0, done.stderr
    older = newest(tmp_path, "sums")
    samples = (older / "samples.jsonl").read_text()
    assert len(samples.splitlines()) == 1 + 2 * 4

    (older / "report.html").unlink()
    done = inv(tmp_path, "sums.analyze")
    assert done.returncode == 0, done.stderr
    assert (older / "samples.jsonl").read_text() == samples
    assert (older / "report.html").exists()

    newer = tmp_path / "results" / "sums" / "9999"
    shutil.copytree(older, newer)
    shutil.rmtree(newer / "hosts")
    done = inv(tmp_path, "sums.analyze")
    assert (done.returncode, done.stderr) == (1, "sums: no results in results/sums/9999\n")
    assert (newer / "samples.jsonl").read_text() == samples, "nothing is written where nothing was read"

    (older / "report.html").unlink()
    done = inv(tmp_path, "sums.analyze", "--results", str(older))
    assert done.returncode == 0, done.stderr
    assert (older / "report.html").exists()

    sshd.write_list(tmp_path / "others.txt", [sshd.host(7).entry])
    done = inv(tmp_path, "sums.pull", "--servers", "others.txt", "--clients", "clients.txt")
    assert done.returncode == 2
    assert "had no part in that run" in done.stderr
    done = inv(tmp_path, "sums.run", "--results", str(older))
    assert done.returncode == 2
    assert "has a run's results already" in done.stderr


@pytest.mark.parametrize("hosts", [True, False], ids=["on hosts", "on this machine"])
def test_a_service_that_dies_at_its_start_is_one_line(sshd, tmp_path: Path, hosts: bool) -> None:
    dies = '"echo here; echo sink: no memory >&2; exit 3", ready="false"'
    text = OWN.replace('"sleep 600 & echo \'{}\' > up; wait", ready="test -e up"', dies)
    names = [host.entry for host in sshd.hosts(3)]
    sshd.write_list(tmp_path / "servers.txt", names[:1])
    sshd.write_list(tmp_path / "clients.txt", names[1:])
    where = ["--servers", "servers.txt", "--clients", "clients.txt"] if hosts else []
    (tmp_path / "tasks.py").write_text(text if hosts else text.replace("for n in (0, 1)", "for n in (0,)"))
    done = inv(tmp_path, "sums", *where)
    assert done.returncode == 1
    server = names[0] if hosts else "localhost"
    assert done.stderr.splitlines()[-1] == f"sums: servers ended on {server}: sink: no memory"
    assert "Traceback" not in done.stderr


def test_the_example_of_the_guide(sshd, tmp_path: Path) -> None:
    example = ROOT / "examples" / "http"
    lines = (example / "tasks.py").read_text().partition("PORT")[2].strip().splitlines()
    guide = [line.strip() for line in (ROOT / "docs" / "guide" / "recipes.md").read_text().splitlines()]
    assert [line.strip() for line in lines[1:] if line.strip() not in guide] == []
    shutil.copytree(example, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "tasks.py").read_text()
    (tmp_path / "tasks.py").write_text(text.replace("8765", str(free_port())))
    names = [host.entry for host in sshd.hosts(3)]
    sshd.write_list(tmp_path / "servers.txt", names[:1])
    sshd.write_list(tmp_path / "clients.txt", names[1:])
    lists = ["--servers", "servers.txt", "--clients", "clients.txt"]
    done = programs.run("inv", "http", *lists, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    samples = [
        json.loads(line) for line in (newest(tmp_path, "http") / "samples.jsonl").read_text().splitlines()
    ]
    assert len(samples) == 2 * 2 * 3
    assert all(sample["pages_per_s"] > 0 for sample in samples)
