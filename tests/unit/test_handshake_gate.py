import threading

import paramiko
import pytest

from paramgmt_tasks.ssh import handshake_gate as gates
from paramgmt_tasks.ssh.handshake_gate import HandshakeGate
from paramgmt_tasks.steps import run_to_end


class Machine:
    """A clock and a processor that move only when told."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.gate = HandshakeGate(clock=lambda: self.now, cpu=lambda: self.used)

    def window(self, handshakes: int, busy: float, shed: int = 0) -> None:
        """A window in which so many handshakes ended, each of which took a tenth of it."""
        self.gate.waiting = 1
        for number in range(handshakes):
            last = number == handshakes - 1
            try:
                with self.gate.handshake(run_to_end(self.gate.acquire_slot())):
                    if last:
                        self.now += gates.WINDOW
                        self.used += gates.WINDOW * busy
                    if number < shed:
                        try:
                            raise EOFError
                        except EOFError:
                            raise paramiko.SSHException("banner") from None
            except paramiko.SSHException:
                pass


def test_the_gate_doubles_while_that_lets_more_in() -> None:
    machine = Machine()
    machine.window(10, busy=0.1)
    machine.window(20, busy=0.2)
    assert machine.gate.limit == 4 * gates.FIRST


def test_the_gate_goes_back_and_rests_where_doubling_let_no_more_in() -> None:
    machine = Machine()
    machine.window(10, busy=0.1)
    assert machine.gate.limit == 2 * gates.FIRST
    machine.window(10, busy=0.1)
    assert machine.gate.limit == gates.FIRST
    machine.window(10, busy=0.1)
    assert machine.gate.limit == gates.FIRST
    limits = []
    for _ in range(round(gates.REST / gates.WINDOW) + 1):
        machine.window(10, busy=0.1)
        limits.append(machine.gate.limit)
    assert limits.index(2 * gates.FIRST) >= len(limits) - 3


def test_a_wide_gate_narrows_where_the_processor_is_used_up() -> None:
    machine = Machine()
    machine.window(10, busy=0.1)
    machine.window(20, busy=0.2)
    machine.window(20, busy=1.0)
    assert machine.gate.limit == 4 * gates.FIRST - gates.FIRST // 2
    for _ in range(20):
        machine.window(10, busy=1.0)
    assert machine.gate.limit == gates.FIRST


def test_the_gate_halves_where_servers_shed_connections() -> None:
    machine = Machine()
    machine.window(10, busy=0.1)
    machine.window(40, busy=0.1, shed=8)
    assert machine.gate.limit == gates.FIRST


def test_one_flaky_host_does_not_narrow_the_gate_for_all() -> None:
    machine = Machine()
    for _ in range(5):
        machine.window(40, busy=0.9, shed=1)
    assert machine.gate.limit > gates.NARROWEST


def test_a_silent_host_stops_counting_after_a_while() -> None:
    machine = Machine()
    machine.gate.limit = 1
    entered = threading.Event()

    def second() -> None:
        with machine.gate.handshake(run_to_end(machine.gate.acquire_slot())):
            entered.set()

    with machine.gate.handshake(run_to_end(machine.gate.acquire_slot())):
        machine.now += gates.PATIENCE
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(5)
        thread.join()


def test_no_more_than_the_limit_are_inside_at_once() -> None:
    gate = HandshakeGate(cpu=lambda: 0.0)
    gate.limit = 2
    inside, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(2)

    def work() -> None:
        nonlocal inside, most
        with gate.handshake(run_to_end(gate.acquire_slot())):
            with lock:
                inside += 1
                most = max(most, inside)
            barrier.wait(5)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 2


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_what_is_raised_inside_passes_through(error: BaseException) -> None:
    gate = HandshakeGate()
    with pytest.raises(type(error)), gate.handshake(run_to_end(gate.acquire_slot())):
        raise error
    assert not gate._inside
