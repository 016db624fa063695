"""PartialOutputs: what the hosts of a distributed run have written before they are done."""

from collections.abc import Sequence

from ..model import FileSpool, Output, Room, Spool
from .messages import OutputPart


class PartialOutputs:
    """What the unfinished hosts of a run have written; at most `most` bytes of each are kept.

    If `kept_by_workers`, large outputs stay in the workers' files.
    """

    def __init__(self, most: int, kept_by_workers: bool) -> None:
        self._most, self._kept_by_workers = most, kept_by_workers
        self._spool = Spool()
        self._by_host: dict[int, tuple[Output, Output]] = {}

    def of(self, position: int) -> tuple[Output, Output]:
        """A host's output and errors, to be added to."""
        if position not in self._by_host:
            room = Room(self._most)
            self._by_host[position] = (
                Output(spool=self._spool, room=room),
                Output(spool=self._spool, room=room),
            )
        return self._by_host[position]

    def _output(self, room: Room) -> Output:
        return Output(spool=self._spool, room=room)

    def pop(self, position: int) -> tuple[Output, Output]:
        """A host's output and errors, of which no more is kept here."""
        return self._by_host.pop(position, None) or (Output(), Output())

    def add(
        self, position: int, written: Sequence[Sequence[OutputPart]], spool: FileSpool | None
    ) -> tuple[Output, Output]:
        """Add what a worker says of a host's two streams: bytes, or where they are in the file of `spool`."""
        streams = self.of(position)
        for output, parts in zip(streams, written, strict=True):
            if self._kept_by_workers:
                output.extend(parts, spool)
                continue
            for part in parts:
                assert isinstance(part, bytes)
                output.write(part)
        return streams
