"""What the relay sends is on the other side as it is on this one; without a network between them."""

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paramgmt_tasks.model.errors import UsageError
from paramgmt_tasks.model.hosts import Host
from paramgmt_tasks.model.operations import Copying, Operation, Pull, Push, Script
from paramgmt_tasks.model.output import Output
from paramgmt_tasks.model.results import Outcome
from paramgmt_tasks.ssh.command import CommandStatus
from paramgmt_tasks.steps import WaitForIO, run_to_end
from paramgmt_tasks.transfer.errors import Refused
from paramgmt_tasks.transfer.local_tree import scan
from paramgmt_tasks.transfer.relay import FileRelay
from paramgmt_tasks.transfer.relay_messages import (
    Delivery,
    FilePieces,
    PullBegins,
    PullData,
    Pulled,
    ScriptText,
    TreeBegins,
    TreeEnds,
)
from paramgmt_tasks.transfer.relayed_files import RelayedFiles
from paramgmt_tasks.transfer.tar_parser import TRAILER
from paramgmt_tasks.transfer.tar_writer import Archive

A, B, C = HOSTS = [Host(name, name) for name in "abc"]
LARGEST = 2 * 256 * 1024


class Worker:
    """A worker's files, and the messages that it was sent."""

    def __init__(self, relay: FileRelay, operation: Operation, room: Callable[[], bool] = lambda: True):
        self.relay, self.operation = relay, operation
        self.files = RelayedFiles(self.send, room)
        self.messages: list[Delivery] = []

    def begin(self, *hosts: Host) -> "Worker":
        for message in self.relay.messages_for(self, hosts):
            self.messages.append(message)
            self.files.handle(message)
        return self

    def send(self, message: Pulled) -> None:
        answer = self.relay.handle(message, HOSTS[message.position])
        if answer is not None:
            self.files.handle(answer)

    @property
    def kinds(self) -> list[type[Delivery]]:
        return [type(message) for message in self.messages]

    def has(self, host: Host) -> bytes:
        """The stream that it sends a host."""
        tree = self.files.tree(self.operation.on(host))  # type: ignore[arg-type]
        assert tree.problems == []
        return stream(tree)


def stream(tree: Any) -> bytes:
    return b"".join(Archive(tree.members.values(), preserve=True))


@pytest.fixture
def work() -> Iterator[Callable[..., Worker]]:
    workers = []

    def make(operation: Operation, **more: Any) -> Worker:
        workers.append(Worker(FileRelay(operation), operation, **more))
        return workers[-1]

    yield make
    for worker in workers:
        worker.files.close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "closed").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "large").write_bytes(os.urandom(1_500_000))
    (folder / "nothing").touch()
    for name, mode in (("run", 0o4755), ("fixed", 0o444), ("new\nline", 0o600)):
        (folder / name).write_text(name)
        (folder / name).chmod(mode)
    (folder / os.fsdecode(b"not utf-8 \xff")).write_text("x")
    (folder / "closed" / "link").symlink_to("../no such")
    (folder / "closed").chmod(0o555)
    return folder


def end_of(relay: FileRelay, position: int, done: CommandStatus) -> CommandStatus:
    return relay.end(position, done.outcome, done.return_code, done.reason, Output(), Output())


@pytest.mark.parametrize("end", ["", "/."])
def test_a_worker_has_the_stream_that_there_is_here(work, tree: Path, end: str) -> None:
    worker = work(Push((f"{tree}{end}",), "there")).begin(*HOSTS)
    assert {worker.has(host) for host in HOSTS} == {stream(scan([f"{tree}{end}"]))}
    assert worker.kinds.count(TreeBegins) == worker.kinds.count(TreeEnds) == 1, "once for all hosts"
    count = len(worker.messages)
    assert len(worker.begin(*HOSTS).messages) == count, "hosts that come later have it too"


def test_each_worker_gets_its_own(work, tree: Path) -> None:
    first = work(Push((str(tree),), "there")).begin(A)
    second = Worker(first.relay, first.operation).begin(B)
    try:
        assert second.has(B) == first.has(A)
    finally:
        second.files.close()


def test_sources_that_differ_by_host_are_sent_for_each(work, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"of {name}")
    worker = work(Push((f"{tmp_path}/?HOST",), "there")).begin(A, B)
    assert worker.kinds.count(TreeBegins) == 2
    assert b"of a" in worker.has(A)
    assert b"of b" not in worker.has(A)
    assert b"of b" in worker.has(B)
    with pytest.raises(UsageError, match="c: no such file or folder here"):
        worker.relay.check(C)


def test_files_go_in_pieces_of_which_none_is_large(work, tree: Path) -> None:
    for number in range(3000):
        (tree / f"small{number}").write_bytes(bytes(300))
    worker = work(Push((str(tree),), "there")).begin(A)
    sizes = [
        sum(len(data) for _, data in message.pieces)
        for message in worker.messages
        if isinstance(message, FilePieces)
    ]
    assert sum(sizes) == sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file())
    assert max(sizes) <= LARGEST
    assert len(sizes) < 20, "small files go together"


@pytest.mark.parametrize("change", ["shorter", "longer", "gone"])
def test_a_file_that_changes_while_it_is_read_is_reported(work, tmp_path: Path, change: str) -> None:
    (tmp_path / "before").write_bytes(bytes(1_000_000))
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    operation = Push((str(tmp_path / "before"), str(path)), "there")
    worker = work(operation)
    for message in worker.relay.messages_for(worker, [A]):
        worker.files.handle(message)
        if isinstance(message, TreeBegins):
            os.truncate(path, {"shorter": 7, "longer": 2_000_000, "gone": 0}[change])
            if change == "gone":
                path.unlink()
    assert worker.files.tree(operation).problems == [f"{path}: changed while it was read"]


def test_a_worker_that_cannot_keep_files_says_so_for_their_hosts(
    work, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/none")
    worker = work(Push((str(tree),), "there")).begin(A)
    with pytest.raises(UsageError, match=r"^/none on the worker: no such file or directory$"):
        worker.files.check(worker.operation)


def test_nothing_of_what_was_delivered_is_left(tree: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    operation = Push((str(tree),), "there")
    worker = Worker(FileRelay(operation), operation).begin(A)
    assert len(os.listdir(tmp_path / "tmp")) == 1
    assert (tmp_path / "tmp").stat().st_mode & 0o777 == 0o755
    (folder,) = (tmp_path / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700, "for nobody else"
    worker.files.close()
    assert os.listdir(tmp_path / "tmp") == []


def test_scripts_are_sent_once_and_filled_in_for_each_host(work, tmp_path: Path) -> None:
    (tmp_path / "all").write_text("echo ?HOST")
    (tmp_path / "only a").write_text("a")
    paths = (f"{tmp_path}/all", f"{tmp_path}/only ?HOST")
    worker = work(Script(paths))
    worker.relay.check(A)
    with pytest.raises(UsageError, match="only b: no such file"):
        worker.relay.check(B)
    worker.begin(A)
    assert worker.kinds == [ScriptText, ScriptText]
    assert worker.files.script(paths[0], A) == b"echo a"
    assert worker.files.script(paths[0], B) == b"echo b"


# -- the way back


def sent(**files: bytes) -> bytes:
    """What a host sends: files, without sums."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue() + TRAILER + b"none\nend 0\n"


def pull(worker: Worker, position: int, data: bytes, code: int | None = 0) -> CommandStatus:
    """One host's way back, as of a transfer; what it comes to here."""
    sink = worker.files.sink(position, worker.operation.on(HOSTS[position]), "")  # type: ignore[arg-type]
    try:
        for start in range(0, len(data), 5000):
            run_to_end(sink.feed([memoryview(data)[start : start + 5000]]))
        done = sink.end(code, Output(), Output())
    except (Refused, EOFError) as error:
        done = CommandStatus(Outcome.FAILED, 1, str(error))
    finally:
        sink.close()
    end = end_of(worker.relay, position, done)
    worker.relay.discard(position)
    return end


def test_what_hosts_send_is_written_here(work, tmp_path: Path) -> None:
    worker = work(Pull(("file",), f"{tmp_path}/?HOST"))
    assert pull(worker, 0, sent(file=b"1" * 50_000)).outcome is Outcome.OK
    assert pull(worker, 1, sent(file=b"2")).outcome is Outcome.OK
    assert (tmp_path / "a").read_bytes() == b"1" * 50_000
    assert (tmp_path / "b").read_bytes() == b"2"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_what_broke_off_leaves_nothing_and_comes_again(work, tmp_path: Path) -> None:
    worker = work(Pull(("file",), f"{tmp_path}/?HOST"))
    assert pull(worker, 0, sent(file=b"1" * 50_000)[:20_000], code=None).reason == "connection lost"
    assert os.listdir(tmp_path) == []
    sink = worker.files.sink(0, worker.operation.on(A), "")  # one that its worker did not end
    run_to_end(sink.feed([sent(file=b"1" * 50_000)[:20_000]]))
    assert pull(worker, 0, sent(file=b"2")).outcome is Outcome.OK
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"2")]


def test_a_worker_that_says_less_than_all_has_come_is_not_believed(work, tmp_path: Path) -> None:
    worker = work(Pull(("file",), f"{tmp_path}/?HOST"))
    done = pull(worker, 0, sent(file=b"1")[: -len(TRAILER + b"none\nend 0\n")])
    assert (done.outcome, done.reason) == (Outcome.LOST, "the stream broke off")
    assert os.listdir(tmp_path) == []


def test_a_host_that_sends_what_was_not_asked_for_is_told_to_stop(work, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    worker = work(Pull(("file",), f"{tmp_path}/back"))
    refused = pull(worker, 0, sent(other=bytes(50_000)))
    assert refused == CommandStatus(Outcome.FAILED, 1, "'other': sent by the host, but not asked for")
    assert worker.files.unwanted(0)
    with pytest.raises(Refused):
        run_to_end(worker.files.sink(0, worker.operation, "").feed([b"more"]))
    assert os.listdir(tmp_path / "back") == []
    assert pull(worker, 1, sent(file=b"x")).outcome is Outcome.OK, "others go on"


def test_what_comes_of_a_host_that_has_its_result_is_not_wanted(work, tmp_path: Path) -> None:
    worker = work(Pull(("file",), f"{tmp_path}/?HOST"))
    sink = worker.files.sink(0, worker.operation.on(A), "")
    worker.relay.discard(0)  # it became lost when the run was cancelled
    run_to_end(sink.feed([sent(file=b"1")]))
    assert worker.files.unwanted(0)
    sink.send_end(0)
    assert end_of(worker.relay, 0, CommandStatus(Outcome.OK, 0)).return_code == 0
    assert os.listdir(tmp_path) == []


def test_what_exists_here_is_replaced_only_where_it_may_be(work, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    worker = work(Pull(("file",), str(tmp_path), Copying(overwrite=False)))
    done = pull(worker, 0, sent(file=b"new"))
    assert "exists already" in done.reason
    assert (tmp_path / "file").read_text() == "old"


def test_a_destination_that_cannot_be_written_to_is_refused_before_a_worker_is_asked(
    work, tmp_path: Path
) -> None:
    worker = work(Pull(("x", "y"), f"{tmp_path}/none"))
    with pytest.raises(UsageError, match="none: no such folder here"):
        worker.relay.check(A)


def test_no_more_is_sent_than_there_is_room_for(work, tmp_path: Path) -> None:
    room: list[int] = []
    worker = work(Pull(("file",), str(tmp_path / "file")), room=lambda: bool(room))
    sink = worker.files.sink(0, worker.operation, "")
    data = sent(file=b"x")
    steps = sink.feed([data])
    assert isinstance(next(steps), WaitForIO)
    assert isinstance(next(steps), WaitForIO)
    room.append(1)
    run_to_end(steps)
    assert sink.end(0, Output(), Output()).outcome is Outcome.OK
    done = end_of(worker.relay, 0, CommandStatus(Outcome.OK, 0))
    assert done.outcome is Outcome.OK
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("breaks", [False, True])
def test_what_a_worker_pulled_over_sftp_may_have_any_modes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    """Where the worker is not root, which may read all."""
    messages: list[Pulled] = []

    def pulled(connection: object, operation: Pull, err: object) -> CommandStatus:
        top = Path(operation.destination) / "top"
        (top / "closed").mkdir(parents=True)
        (top / "closed" / "file").write_text("text")
        (top / "closed" / "file").chmod(0)
        (top / "closed").chmod(0)
        if breaks:
            raise EOFError
        return CommandStatus(Outcome.OK, 0)

    monkeypatch.setattr("paramgmt_tasks.transfer.over_sftp.run", pulled)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        os.seteuid(65534)
        try:
            files = RelayedFiles(messages.append, lambda: True)
            with contextlib.nullcontext() if not breaks else pytest.raises(EOFError):
                files.by_sftp(0, None, Pull(("top",), "back"), Output())  # type: ignore[arg-type]
            left = os.listdir(files.folder())
        finally:
            os.seteuid(0)
    assert left == []
    if not breaks:
        assert isinstance(messages[0], PullBegins)
        assert [type(message) for message in messages[1:-1]] == [PullData] * (len(messages) - 2)
        sent = b"".join(piece for message in messages[1:-1] for piece in message.pieces)  # type: ignore[union-attr]
        with tarfile.open(fileobj=io.BytesIO(sent)) as stream:
            modes = {member.name: member.mode for member in stream}
        assert modes == {"top": 0o755, "top/closed": 0, "top/closed/file": 0}
