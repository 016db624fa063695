"""Unpacker: writes what a tar stream of a host that is not to be trusted says, whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .errors import BoundedLines, LocalError, Refused
from .safe_writer import IncomingFile, Writer
from .tar_parser import (
    File,
    FileEnd,
    Folder,
    HardLink,
    Header,
    SymbolicLink,
    TarParser,
    TrailerText,
    normalise,
    shown,
)
from .temporary_names import PULL

#: Bytes of the trailer: some for each file, beside its name, and some when there are no files.
_SUM, _TRAILER = 160, 256 * 1024


@dataclass(slots=True)
class ReceivedFile:
    """A file that has come, under its temporary name."""

    number: int
    digest: bytes


class Unpacker:
    """Writes tar archives, one after the other, as they come, in pieces of any size: `steps`, or `feed`.

    A piece is kept until the next call of `flush`, and not to be changed before.

    `target` gives the path in `folder` for one of an archive, and raises Refused for one not asked for.
    No file has its own name before `commit`. No symbolic link below `folder` is followed.

    Links come last, and only those that lead to where the host may write anyway: `target` accepts the path
    they lead to, which goes through no link that was there before. So whoever follows links that pulls have
    made gets no further than hosts could write.
    Other links are left out and named in `notes`, unless `unsafe_links`. A path that is `own`, of what was
    asked for itself, is no link in any case.

    Raises:
        LocalError: the folder cannot be opened.
    """

    def __init__(
        self,
        folder: str,
        target: Callable[[tuple[str, ...]], tuple[str, ...]],
        preserve: bool = False,
        *,
        own: Callable[[tuple[str, ...]], bool] = lambda parts: not parts,
        unsafe_links: bool = False,
        on_commit: Callable[[str], object] = lambda path: None,
    ) -> None:
        #: What could not be had from the host, and what was left out.
        self.failures = BoundedLines()
        self.notes = BoundedLines()
        #: Files whose name and content have come, by their name in the archive.
        self.files: dict[str, ReceivedFile] = {}
        #: The text after the archives; None until they have all come.
        self.trailer: bytearray | None = None
        self._trailer_lines = 0
        self._parser = TarParser()
        self._writer = Writer(folder)
        self._target = target
        self._own = own
        self._preserve = preserve
        self._unsafe_links = unsafe_links
        self._on_commit = on_commit
        #: The file that is coming.
        self._header: File
        self._incoming: IncomingFile
        #: Where links point, and the path here to which that leads.
        self._links: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
        self._modes: dict[tuple[str, ...], int] = {}

    @property
    def problems(self) -> BoundedLines:
        """What could not be written here."""
        return self._writer.problems

    @property
    def count(self) -> int:
        """How many files, folders and links have come, which are to be kept or removed."""
        return len(self.files) + len(self._modes) + len(self._links)

    def feed(self, data: bytes | memoryview) -> None:
        """Unpack the next piece of the stream at once."""
        for _ in self.steps(data):
            pass

    def steps(self, data: bytes | memoryview) -> Iterator[None]:
        """Unpack the next piece of the stream; yields after each header, as a file was made, and at the end.

        Raises:
            Refused: it is no archive, or wants to write elsewhere, or says more than any archive would.
            LocalError: it cannot be written.
        """
        for event in self._parser.feed(data):
            if isinstance(event, memoryview):
                if self._incoming.add(event):
                    self._writer.flush()
            elif isinstance(event, FileEnd):
                self._end_file()
            elif isinstance(event, TrailerText):
                self._read_trailer(event.text)
            else:
                self._begin(event)
                yield
        yield

    def flush(self) -> None:
        """Write what has come.

        Raises:
            LocalError: it cannot be written.
        """
        self._writer.flush()

    def _begin(self, event: Header) -> None:
        """A file, folder or link begins, of which most have no more than this."""
        name = event.name
        if any(part.startswith(PULL) for part in event.path):
            raise Refused(f"{shown(name)}: a name kept for temporary files")
        parts = self._target(event.path)
        if isinstance(event, File):
            if not parts:
                raise Refused(f"{shown(name)}: a file without a name")
            self._header, self._incoming = event, self._writer.create(parts)
        elif isinstance(event, Folder):
            self._writer.folder(parts)
            if parts:  # what was there before anything was pulled keeps its mode
                self._modes[parts] = event.mode & 0o777
        elif isinstance(event, SymbolicLink):
            self._link(event, parts)
        elif isinstance(event, HardLink):
            self._another_name(event, parts)
        else:
            self.failures.append(f"{name}: not a regular file")

    # -- files

    def _end_file(self) -> None:
        header, file = self._header, self._incoming
        digest = self._writer.finish(header.mode, header.mtime if self._preserve else None)
        self._add(header.name, ReceivedFile(file.number, digest))

    def _another_name(self, link: HardLink, parts: tuple[str, ...]) -> None:
        """A further name of a file that has come."""
        first = self.files.get(normalise(link.target))
        if first is None:
            self.failures.append(f"{link.name}: a link to a file that was not sent")
        elif not parts:
            raise Refused(f"{shown(link.name)}: a file without a name")
        elif normalise(link.target) != normalise(link.name):
            self._add(link.name, ReceivedFile(self._writer.link(first.number, parts), first.digest))

    def _add(self, name: str, file: ReceivedFile) -> None:
        """A file has come; of two with one name the last counts."""
        name = normalise(name)
        before = self.files.pop(name, None)
        if before is not None:
            self._writer.remove(before.number)
        self.files[name] = file

    # -- symbolic links

    def _link(self, link: SymbolicLink, parts: tuple[str, ...]) -> None:
        if self._own(link.path) or not parts:
            raise Refused(f"{shown(link.name)}: sent as a symbolic link, and followed by nobody")
        aim = () if self._unsafe_links else self._aim(link.path, parts, link.target)
        if aim is None:
            self._leave_out(normalise(link.name), link.target)
        else:
            self._links[parts] = link.target, aim

    def _leave_out(self, name: str, target: str) -> None:
        self.notes.append(f"{name}: left out: a symbolic link to {shown(target)}; see --unsafe-links")

    def _aim(self, path: tuple[str, ...], parts: tuple[str, ...], target: str) -> tuple[str, ...] | None:
        """Where a link leads here, whatever other links of the archive it leads through.

        None if the host may not write there. So it may go up only first, from the folder it is in: after
        another link `..` is somewhere else. And it has to lead to the same here, from `parts`, as in the
        archive, where the topmost folder may have another name.
        """
        if not target or target.startswith("/"):
            return None
        above, down = path[:-1], [part for part in target.split("/") if part not in ("", ".")]
        up = next((index for index, part in enumerate(down) if part != ".."), len(down))
        if up > len(above) or ".." in down[up:]:
            return None
        here = (*parts[: len(parts) - 1 - up], *down[up:])
        try:
            return here if self._target((*above[: len(above) - up], *down[up:])) == here else None
        except (Refused, LocalError):
            return None

    # -- the end

    def _read_trailer(self, text: memoryview) -> None:
        if self.trailer is None:
            self.trailer = bytearray()
        self.trailer += text
        self._trailer_lines += bytes(text).count(b"\n")
        # A name may have two characters for one that is escaped, and a line is much larger in memory.
        size = _SUM * len(self.files) + 2 * self._parser.name_bytes
        lines = len(self.files) + self._parser.name_lines
        if len(self.trailer) > _TRAILER + size or self._trailer_lines > _TRAILER // _SUM + lines:
            raise Refused("more checksums than there are files")

    def commit(self, names: Iterable[str], overwrite: bool = True) -> None:
        """Give files their names, and make the links: those of `names`, which are keys of `files`.

        What cannot be committed is named in `problems`.
        """
        writer = self._writer
        for name in names:
            number = self.files[name].number
            parts = writer.path_of(number)
            if writer.commit(number, overwrite):
                self._on_commit("/".join(parts))
        made: set[tuple[str, ...]] = set()
        for parts, (target, aim) in self._links.items():
            # Nobody knows where a link leads that was there before, unless it is replaced.
            if writer.has_link(aim, self._links if overwrite else made):
                self._leave_out("/".join(parts), target)
            elif writer.symlink(parts, target, overwrite):
                made.add(parts)
                self._on_commit("/".join(parts))
        for parts, mode in sorted(self._modes.items(), reverse=True):
            writer.chmod(parts, mode)
        writer.keep_folders()

    def close(self) -> None:
        """Remove what has not been given its name, and what was made for it."""
        self._writer.close()
