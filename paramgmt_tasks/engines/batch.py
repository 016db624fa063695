"""Batch: hosts of a run that came to a worker together, and how what they write goes to the coordinator."""

from collections.abc import Iterable

from ..execution import LocalRun
from ..model import HostResult, OutputEvent, Reader, Spool
from .channels import MessageChannel
from .messages import HostDone, OutputFile, OutputPart, Streams, Written

#: Bytes of output that go along with a result.
_SMALL = 32 * 1024


class OutputSender:
    """Sends what the hosts of a batch have written: where it is in the batch's file, if that can be sent.

    Otherwise the bytes are sent, once there is room for them.
    """

    def __init__(self, channel: MessageChannel, run: int, batch: int, spool: Spool) -> None:
        self._channel, self._run, self._batch, self._spool = channel, run, batch, spool
        self._file_sent = False

    def send(self, position: int, readers: tuple[Reader, Reader]) -> None:
        """Send what there is to be read of a host's streams."""
        if self._channel.sends_files:
            self._send(position, self._parts(readers))
            return
        for stream, reader in enumerate(readers):
            for data in reader.more():
                self._send_bytes(position, stream, data)

    def rest(self, position: int, readers: tuple[Reader, Reader]) -> Streams:
        """What goes along with a host's result; bytes beyond a few are sent before."""
        if self._channel.sends_files:
            return self._parts(readers)
        out, err = (self._last_bytes(position, stream, reader) for stream, reader in enumerate(readers))
        return out, err

    def _parts(self, readers: tuple[Reader, Reader]) -> Streams:
        out, err = (list(reader.parts()) for reader in readers)
        if not self._file_sent and any(isinstance(part, tuple) for part in (*out, *err)):
            self._file_sent = True
            self._channel.send(OutputFile(self._run, self._batch), file=self._spool.file)
        return out, err

    def _last_bytes(self, position: int, stream: int, reader: Reader) -> list[OutputPart]:
        last = b""
        for data in reader.more():
            self._send_bytes(position, stream, last)
            last = data
        if len(last) > _SMALL:
            self._send_bytes(position, stream, last)
            last = b""
        return [last] if last else []

    def _send_bytes(self, position: int, stream: int, data: bytes) -> None:
        if data:
            self._channel.wait_for_room()
            self._send(position, ([data], []) if stream == 0 else ([], [data]))

    def _send(self, position: int, written: Streams) -> None:
        if any(written):
            self._channel.send(Written(self._run, self._batch, position, written))


class Batch:
    """Hosts of a run that came together, and the LocalRun that works on them.

    `positions` are those in the run's list, as in messages; an `index` is one in the list of the LocalRun.
    """

    def __init__(self, number: int, run: LocalRun, positions: list[int], output: OutputSender) -> None:
        self.number, self._run, self._positions, self._output = number, run, positions, output
        self._indexes = {position: index for index, position in enumerate(positions)}
        self._readers: dict[int, tuple[Reader, Reader]] = {}

    def permit(self, positions: Iterable[int]) -> None:
        """Let those of these hosts start that are among `positions`."""
        self._run.permit([self._indexes[position] for position in positions if position in self._indexes])

    def halt(self, reason: str) -> None:
        """Start nothing more."""
        self._run.halt(reason)

    def cancel(self, patience: float) -> None:
        """End what runs within so many seconds."""
        self._run.cancel(patience)

    def wait(self, seconds: float) -> bool:
        """Wait until all hosts have results, at most so many seconds; whether that is so."""
        return self._run.wait(seconds)

    def moved(self) -> tuple[int, float]:
        """Bytes that its transfers have moved, and are going to."""
        return self._run.shared.moved, self._run.shared.expected()

    def drain(self) -> list[HostDone] | None:
        """Wait for results; None if all were returned before. What unfinished hosts have written is sent."""
        events = self._run.drain()
        if not events:
            return None
        done = []
        for event in events:
            position = self._positions[event.index]
            readers = self._readers.pop(event.index, None) or (Reader(event.out), Reader(event.err))
            if isinstance(event, OutputEvent):
                self._readers[event.index] = readers
                self._output.send(position, readers)
            else:
                done.append(_host_done(position, event, self._output.rest(position, readers)))
        return done


def _host_done(position: int, result: HostResult, rest: Streams) -> HostDone:
    return HostDone(
        position,
        result.outcome,
        result.return_code,
        result.attempts,
        result.reason,
        result.dropped,
        result.started,
        result.finished,
        result.requested,
        result.confirmed,
        rest,
        result.unsupported,
    )
