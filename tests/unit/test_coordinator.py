"""A run that is split over workers which are none."""

import threading
from pathlib import Path

from helpers import until

from paramgmt_tasks import Host, Outcome, Push, RemoteCommand, Settings
from paramgmt_tasks.engines.coordinator import WorkerEngine
from paramgmt_tasks.engines.messages import (
    AddHosts,
    HostDone,
    Permit,
    Ready,
    RelayToWorker,
    Results,
    ToWorker,
)
from paramgmt_tasks.model import FileSpool
from paramgmt_tasks.transfer.relay import FileRelay


class Link:
    """Keeps what it is sent, and has room when its test says so."""

    ahead: float = 0.0
    uncertain: float = 0.0

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.spools: dict[tuple[int, int], FileSpool] = {}
        self.sent: list[ToWorker] = []
        self.room = threading.Event()

    def send(self, message: ToWorker) -> bool:
        self.sent.append(message)
        return self.alive

    def wait_for_room(self) -> None:
        self.room.wait(10)

    def kinds(self) -> list[str]:
        return [
            type(message.message if isinstance(message, RelayToWorker) else message).__name__
            for message in self.sent
        ]

    def hosts(self) -> list[int]:
        return [
            position
            for message in self.sent
            if isinstance(message, AddHosts)
            for position, _ in message.hosts
        ]


class Elsewhere(WorkerEngine[Link]):
    """Workers that have not this machine's files."""

    shares_filesystem = False

    def __init__(self) -> None:
        super().__init__()
        self.links = [Link("one is gone"), Link("two is gone")]

    def start(self, settings: Settings, hosts: int) -> int:
        return len(self.links)

    def relay(self, operation):
        return FileRelay(operation)

    def lose(self, link: Link) -> None:
        link.alive = False
        self.on_worker_lost(link)


HOSTS = [Host(name, name) for name in "abcd"]


def test_hosts_come_to_a_worker_only_after_their_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 600_000)
    workers = Elsewhere()
    one, two = workers.links
    workers.perform(HOSTS, Push((str(tmp_path / "file"),), "/there"), Settings())
    until(lambda: "TreeBegins" in one.kinds() and "TreeBegins" in two.kinds())
    workers.lose(two)
    one.room.set()
    two.room.set()
    until(lambda: one.kinds().count("AddHosts") == 2)
    assert one.kinds()[-3:] == ["TreeEnds", "AddHosts", "AddHosts"]
    assert one.kinds().count("TreeBegins") == 1
    assert one.hosts() == [0, 2, 1, 3]


def test_what_a_lost_worker_was_let_start_is_lost_and_the_rest_goes_to_another() -> None:
    workers = Elsewhere()
    one, two = workers.links
    started: list[int] = []
    run = workers.perform(HOSTS, RemoteCommand("true"), Settings(), on_start=started.append)
    workers.handle(two, Ready(1, 1))
    assert two.sent[-1] == Permit(1, [1])
    assert started == [1]
    workers.lose(two)
    assert run.finished_hosts == {1}
    result = next(run)
    assert (result.outcome, result.reason) == (Outcome.LOST, "two is gone; the command may have run")
    assert one.hosts() == [0, 2, 3]
    workers.lose(one)
    assert {result.reason for result in run} == {"no worker is left"}


def test_no_host_starts_before_all_are_ready_that_are_to_start_together() -> None:
    workers = Elsewhere()
    one, two = workers.links
    workers.perform(HOSTS, RemoteCommand("true"), Settings(together=True))
    for link, position in ((one, 0), (two, 1), (one, 2)):
        workers.handle(link, Ready(1, position))
    assert "Permit" not in one.kinds() + two.kinds()
    unreachable = HostDone(3, Outcome.UNREACHABLE, attempts=3, reason="refused", started=1.0, finished=2.0)
    workers.handle(two, Results(1, 1, [unreachable]))
    assert (one.sent[-1], two.sent[-1]) == (Permit(1, [0, 2]), Permit(1, [1]))


def test_what_was_interrupted_on_its_way_to_a_worker_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 600_000)
    workers = Elsewhere()
    run = workers.perform(HOSTS, Push((str(tmp_path / "file"),), "/there"), Settings())
    until(lambda: all("TreeBegins" in link.kinds() for link in workers.links))
    threading.Timer(0.1, lambda: [link.room.set() for link in workers.links]).start()
    run.cancel(0.0)
    assert {result.outcome for result in run} == {Outcome.CANCELLED}
    assert all("AddHosts" not in link.kinds() for link in workers.links)
