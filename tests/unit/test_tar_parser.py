"""The tar parser beside Python's tarfile: what one writes the other reads, in pieces of any size."""

import contextlib
import io
import itertools
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paramgmt_tasks.transfer.errors import Refused
from paramgmt_tasks.transfer.tar_parser import (
    TRAILER,
    Event,
    File,
    FileEnd,
    Folder,
    HardLink,
    Header,
    Special,
    SymbolicLink,
    TarParser,
    TrailerText,
)

FORMS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
KINDS = {
    tarfile.REGTYPE: File,
    tarfile.DIRTYPE: Folder,
    tarfile.SYMTYPE: SymbolicLink,
    tarfile.LNKTYPE: HardLink,
    tarfile.FIFOTYPE: Special,
    tarfile.CHRTYPE: Special,
}


@dataclass
class Given:
    """A member of an archive."""

    name: str
    kind: bytes
    content: bytes
    mode: int
    mtime: float
    link: str

    def header(self) -> Header:
        """What the parser has to say of it."""
        path = tuple(part for part in self.name.split("/") if part not in ("", "."))
        more: dict[type, tuple] = {
            File: (len(self.content), self.mode, self.mtime),
            Folder: (self.mode,),
            SymbolicLink: (self.link,),
            HardLink: (self.link,),
            Special: (),
        }
        what = KINDS[self.kind]
        return what(self.name, path, *more[what])


def archive(members: Iterable[Given], form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, errors="surrogateescape") as file:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.mtime = member.kind, member.mode, member.mtime
            info.linkname, info.size = member.link, len(member.content)
            file.addfile(info, io.BytesIO(member.content))
    return out.getvalue()


def parse(pieces: Iterable[bytes]) -> tuple[list[tuple[Header, bytes]], bytes | None]:
    """The members with their contents, and the text of the trailer."""
    parser = TarParser()
    members: list[tuple[Header, bytes]] = []
    trailer: bytes | None = None
    is_open = False
    for piece in pieces:
        event: Event
        for event in parser.feed(piece):
            if isinstance(event, TrailerText):
                trailer = (trailer or b"") + event.text
            elif isinstance(event, FileEnd):
                assert is_open
                is_open = False
            elif isinstance(event, memoryview):
                assert is_open
                assert event
                header, content = members[-1]
                members[-1] = header, content + event
            else:
                assert not is_open
                is_open = isinstance(event, File)
                event.name = event.name.rstrip("/")  # which some formats add to folders
                members.append((event, b""))
    assert not is_open
    return members, trailer


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


_characters = st.characters(exclude_characters="/\0", exclude_categories=("Cs",)) | st.sampled_from(
    "\udcff\udc80"
)
_part = st.text(_characters, min_size=1, max_size=60).filter(
    lambda part: part not in (".", "..") and len(part.encode("utf-8", "surrogateescape")) <= 255
)
_name = st.lists(_part, min_size=1, max_size=5).map("/".join)


@st.composite
def members(draw: st.DrawFn, form: str) -> list[Given]:
    made = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(list(KINDS)))
        mtime = draw(st.integers(0, 2**33 - 1))
        given = Given(
            draw(_name),
            kind,
            draw(st.binary(max_size=1300)) if kind == tarfile.REGTYPE else b"",
            draw(st.integers(0, 0o777)),
            mtime + draw(st.sampled_from([0, 0.5])) if form == "pax" else mtime,
            draw(_name) if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "",
        )
        if form == "ustar":  # has no room for more
            given.name, given.link = (
                text.encode("ascii", "replace").decode()[:99].strip("/") for text in (given.name, given.link)
            )
        made.append(given)
    return made


_places = st.lists(st.integers(0, 2**20), max_size=20)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), places=_places, trailer=st.none() | st.binary(max_size=700))
def test_what_tarfile_writes_is_parsed_in_any_pieces(
    form: str, data: st.DataObject, places: list[int], trailer: bytes | None
) -> None:
    wanted = data.draw(members(form))
    stream = archive(wanted, FORMS[form]) + (b"" if trailer is None else TRAILER + trailer)
    found, text = parse(cut(stream, places))
    assert found == [(given.header(), given.content) for given in wanted]
    assert text == trailer


@settings(deadline=None, max_examples=100)
@given(
    form=st.sampled_from(list(FORMS)),
    data=st.data(),
    places=_places,
    changes=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), max_size=3),
)
def test_an_archive_that_was_changed_is_refused_or_names_what_is_within_and_pieces_make_no_difference(
    form: str, data: st.DataObject, places: list[int], changes: list[tuple[int, int]]
) -> None:
    stream = bytearray(archive(data.draw(members(form)), FORMS[form]))
    for place, change in changes:
        stream[place % len(stream)] ^= change
    results: list[object] = []
    for pieces in ([bytes(stream)], cut(bytes(stream), places)):
        events: list[Event] = []
        parser = TarParser()
        refused = ""
        try:
            for piece in pieces:
                events += [event for event in parser.feed(piece) if not isinstance(event, memoryview)]
        except Refused as error:
            refused = str(error)
        for event in events:
            if isinstance(event, Header):
                assert not {"", ".", ".."} & set(event.path)
                assert not any(set(part) & {"/", "\0"} for part in event.path)
        results.append((events if not refused else [], refused))
    assert results[0] == results[1]


@settings(deadline=None, max_examples=100)
@given(pieces=st.lists(st.binary(max_size=1200), max_size=4))
def test_any_bytes_are_parsed_or_refused(pieces: list[bytes]) -> None:
    parser = TarParser()
    with contextlib.suppress(Refused):
        for piece in pieces:
            for _ in parser.feed(piece):
                pass


def test_contents_are_not_copied() -> None:
    stream = archive([Given("f", tarfile.REGTYPE, b"x" * 1000, 0o644, 0, "")], tarfile.GNU_FORMAT)
    views = [event for event in TarParser().feed(stream) if isinstance(event, memoryview)]
    assert [len(view) for view in views] == [1000]
    assert views[0].obj is stream


def test_several_archives_follow_one_another() -> None:
    given = [Given(name, tarfile.REGTYPE, name.encode(), 0o644, 0, "") for name in "ab"]
    stream = b"".join(archive([each], tarfile.PAX_FORMAT) for each in given)
    found, _ = parse([stream])
    assert [content for _, content in found] == [b"a", b"b"]


def test_what_extended_headers_say_is_of_the_next_member_only() -> None:
    long = "n" * 200
    stream = archive(
        [Given(long, tarfile.DIRTYPE, b"", 0o755, 0, ""), Given("b", tarfile.REGTYPE, b"b", 0o644, 0, "")],
        tarfile.PAX_FORMAT,
    )
    found, _ = parse([stream])
    assert [header.name for header, _ in found] == [long, "b"]


def test_the_bytes_and_lines_of_names_are_counted() -> None:
    parser = TarParser()
    stream = archive([Given("ü\nx", tarfile.REGTYPE, b"", 0o644, 0, "")] * 2, tarfile.GNU_FORMAT)
    for _ in parser.feed(stream):
        pass
    assert (parser.name_bytes, parser.name_lines) == (8, 2)
