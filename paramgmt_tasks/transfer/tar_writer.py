"""Archive: local files and folders as one tar stream, made once and sent to many hosts."""

import hashlib
import os
import posixpath
import re
import shlex
import stat
import tarfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..model import reason_of
from .tar_reader import plain

CHUNK = 256 * 1024
#: Chunks kept in memory for the hosts that are a little behind; others read the disk again.
_KEPT = 64
_DEPTH = 250
_BLOCK = 512
_RWX = stat.S_IRWXU
#: Where things are in the archive: the files, their sums, and the script that gives the files their names.
FILES, SUMS, FINISH = "files", "sums", "finish"
#: Held while a file is read for its sum alone.
_hashing = threading.Lock()
#: Characters of names in one command.
_BATCH = 50_000


@dataclass
class Member:
    """A file, folder or symbolic link: its name in the archive and its path here."""

    name: str
    path: str
    info: os.stat_result
    link: str = ""
    digest: str = ""
    #: The top-level name it is under; `.` where a folder's contents are sent without it.
    top: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return not self.link and stat.S_ISDIR(self.info.st_mode)

    def same(self, digest: str) -> bool:
        """Whether it has that SHA-256. Safe for many threads, of which one reads it."""
        if not self.digest:
            with _hashing:
                try:
                    self.digest = self.digest or _digest(self.path)
                except OSError:
                    return False  # told when it is sent
        return self.digest == digest

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return not self.link and stat.S_ISREG(self.info.st_mode)


@dataclass
class Tree:
    """What is to be sent: the members, the top-level names, and what cannot be sent, with its reason."""

    members: dict[str, Member] = field(default_factory=dict)
    tops: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def scan(sources: Sequence[str], follow: bool = False) -> Tree:
    """The files, folders and symbolic links under `sources`; where `follow`, what the links point to.

    A source that is itself a link is followed, as cp -H does. Of two sources with one name the last counts.
    """
    tree = Tree()
    for source in sources:
        path = os.path.expanduser(source)
        name = os.path.basename(path.rstrip("/")) or "."
        top = "." if name == ".." else name
        if top not in tree.tops:
            tree.tops.append(top)
        _scan(tree, path, top, top, follow, follow_this=True)
    return tree


def _scan(
    tree: Tree,
    path: str,
    name: str,
    top: str,
    follow: bool,
    follow_this: bool = False,
    above: tuple[Any, ...] = (),
) -> None:
    try:
        info = os.stat(path) if follow or follow_this else os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            tree.members[name] = Member(name, path, info, link=os.readlink(path), top=top)
        elif stat.S_ISREG(info.st_mode):
            with open(path, "rb"):
                tree.members[name] = Member(name, path, info, top=top)
        elif not stat.S_ISDIR(info.st_mode):
            tree.problems.append(f"{path}: not a regular file")
        elif (info.st_dev, info.st_ino) in above:
            tree.problems.append(f"{path}: a loop of symbolic links")
        elif len(above) > _DEPTH:
            tree.problems.append(f"{path}: folders nested too deeply")
        else:
            above = (*above, (info.st_dev, info.st_ino))
            names = sorted(os.listdir(path))
            tree.members[name] = Member(name, path, info, top=top)
            for entry in names:
                below = entry if name == "." else f"{name}/{entry}"
                _scan(tree, os.path.join(path, entry), below, top, follow, above=above)
    except OSError as error:
        tree.problems.append(f"{path}: {reason_of(error)}")


class Archive:
    """A tree as one stream, in chunks of CHUNK bytes. Safe for many threads; memory is bounded.

    After the files stand their SHA-256 sums, computed as they are read, in the format of sha256sum.
    A file that has changed since it was looked at gets a sum that nothing can have, and stands in `changed`.
    """

    def __init__(self, members: Iterable[Member], preserve: bool = False) -> None:
        self.changed: list[str] = []
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._starts: list[int] = []
        self._segments: list[bytes | Member | None] = []  # None is for the sums
        self._hashing: dict[str, tuple[Any, int]] = {}
        self._end = 0
        members = list(members)
        self._files = [member for member in members if member.is_file]
        #: Whether no name has a character that sha256sum escapes.
        self.plain = not any(set(member.name) & set("\\\n\r") for member in members)
        self._names = [member.name for member in members]
        for member in members:
            self._add(self._header(member, preserve))
            if member.is_file:
                self._hashing[member.name] = (hashlib.sha256(), 0)
                self._add(member, member.info.st_size)
                self._add(bytes(-member.info.st_size % _BLOCK))
        length = sum(len(sum_line(member.name, "0" * 64)) for member in self._files)
        self._add(_header(SUMS, length))
        self._add(None, length)
        self._add(bytes(-length % _BLOCK))
        # The last, so that where it has come all has.
        text = install_script(members).encode("utf-8", "surrogateescape")
        self._add(_header(FINISH, len(text)) + text + bytes(-len(text) % _BLOCK) + bytes(2 * _BLOCK))

    @property
    def size(self) -> int:
        """Bytes of the whole stream."""
        return self._end

    @property
    def listing(self) -> bytes:
        """The names of all members, a line each."""
        return "".join(f"{name}\n" for name in self._names).encode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[bytes]:
        """The chunks, from the first; each host goes through them at its own pace."""
        return map(self._chunk, range(-(-self._end // CHUNK)))

    def _chunk(self, number: int) -> bytes:
        with self._lock:
            data = self._kept.get(number)
            if data is None:
                start = number * CHUNK
                data = b"".join(self._pieces(start, min(start + CHUNK, self._end)))
                self._kept[number] = data
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return data

    def _add(self, segment: bytes | Member | None, length: int | None = None) -> None:
        length = len(segment) if isinstance(segment, bytes) else length or 0
        if length:
            self._starts.append(self._end)
            self._segments.append(segment)
            self._end += length

    def _header(self, member: Member, preserve: bool) -> bytes:
        name = FILES if member.name == "." else f"{FILES}/{member.name}"
        mode, mtime = stat.S_IMODE(member.info.st_mode), member.info.st_mtime if preserve else 0
        if member.link:
            return _header(name, 0, mode, mtime, tarfile.SYMTYPE, member.link)
        if member.is_file:
            return _header(name, member.info.st_size, mode, mtime)
        # Until all is in place; finish() gives it its own.
        return _header(name, 0, mode | _RWX, mtime, tarfile.DIRTYPE)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        index = bisect_right(self._starts, start) - 1
        while start < end:
            segment, begins = self._segments[index], self._starts[index]
            ends = self._starts[index + 1] if index + 1 < len(self._starts) else self._end
            low, high = start - begins, min(end, ends) - begins
            if isinstance(segment, Member):
                yield self._read(segment, low, high - low)
            else:
                yield (self._sums() if segment is None else segment)[low:high]
            start, index = begins + high, index + 1

    def _read(self, member: Member, offset: int, count: int) -> bytes:
        try:
            with open(member.path, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), count, offset)
                while data and len(data) < count:
                    more = os.pread(file.fileno(), count - len(data), offset + len(data))
                    if not more:
                        break
                    data += more
        except OSError:
            data = b""
        whole = len(data) == count
        data += bytes(count - len(data))
        hasher, hashed = self._hashing[member.name]
        if hashed == offset:
            hasher.update(data if whole else data + b"short")
            self._hashing[member.name] = (hasher, offset + count)
            if offset + count == member.info.st_size:
                member.digest = hasher.hexdigest() if self._unchanged(member) and whole else ""
                if not member.digest:
                    self.changed.append(member.path)
                    member.digest = "0" * 64
        return data

    def _unchanged(self, member: Member) -> bool:
        try:
            now = os.stat(member.path)
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (member.info.st_size, member.info.st_mtime_ns)

    def _sums(self) -> bytes:
        empty = hashlib.sha256().hexdigest()
        return b"".join(sum_line(member.name, member.digest or empty) for member in self._files)


#: What the script begins with: it goes through all there is to do twice, to look, and to put all in place.
_PLACING = """
at() { to=$into${as:-"$1"}; [ "$1" = . ] && to=$into${as:-.}; }
follow() {  # $real is the file that the link $1 stands for
  real=$1 hops=0
  while [ -L "$real" ]; do
    hops=$((hops + 1)); [ $hops -le 40 ] || fail "$1: a loop of symbolic links"
    link=$(readlink "$real" 2>/dev/null && echo .) || {
      link=$(ls -ld "$real" && echo .); link=${link#*"$real -> "}; }
    link=${link%??}
    case $link in /*) real=$link ;; *) real=${real%/*}/$link ;; esac
  done
}
look() {  # whether something may be put at $1
  [ -e "$1" ] || [ -L "$1" ] || return 0
  [ $overwrite = 1 ] || fail "$1: exists already"
  [ -L "$1" ] || [ -f "$1" ] || refuse "$1"
}
look_through() {  # whether a file may be written to where the link $1 points
  linked=1
  follow "$1"
  if [ -f "$1" ]; then ( : >>"$1" ) 2>/dev/null || fail "$1: what it points to may not be written"
  elif [ -e "$1" ]; then refuse "$1"
  elif [ -e "$real" ]; then fail "$1: may not be followed"
  elif [ ! -d "${real%/*}/" ]; then fail "$1: points into a folder that is not there: $real"
  fi
}
put() {  # the file $1 at $2
  if [ ! -L "$2" ]; then mv -f -- "$1" "$2" || exit 1; return; fi
  ( : >>"$2" ) || exit 1  # by the system's own rules for who may follow which link
  follow "$2"
  if [ ! -w "${real%/*}/" ]; then cat "$1" >"$real" || exit 1; return; fi
  near=${real%/*}/${stage##*/}-link-$$
  { mv -f -- "$1" "$near" && mv -f -- "$near" "$real"; } || exit 1
  near=
}
file() {
  [ $pass = look ] || { put "$1" "$2"; return; }
  look "$2"; [ ! -L "$2" ] || look_through "$2"
}
enter() {  # whether something may be put into the folder $1
  [ -w "$1" ] || fail "${1%/}: permission denied"
}
files() {
  folder=$1; shift
  if [ $pass = look ] && [ ! -d "$folder" ]; then return
  elif [ $pass = put ] && [ ! "$linked" ]; then mv -f -- "$@" "$folder" || exit 1
  else for each do file "$each" "$folder${each##*/}"; done
  fi
  [ $pass = put ] || [ -w "$folder" ] || for each do [ -L "$folder${each##*/}" ] || enter "$folder"; done
}
links() {
  folder=$1; shift
  if [ $pass = put ]; then mv -f -- "$@" "$folder" || exit 1
  elif [ -d "$folder" ]; then enter "$folder"; for each do look "$folder${each##*/}"; done
  fi
}
folders() {
  for each do
    [ -d "$to$each" ] && continue
    if [ $pass = put ]; then mkdir -- "$to$each" || exit 1
    elif [ -e "$to$each" ] || [ -L "$to$each" ]; then fail "$to$each: not a folder"
    elif [ -d "${to}${each%/*}" ]; then enter "$to${each%/*}"
    fi
  done
}
modes() { [ $pass = look ] || chmod "$@" || bad=1; }  # all is in place by then
linked= bad=0
"""


def install_script(members: Sequence[Member]) -> str:
    """The script that gives the files under FILES, where it runs, their names in the folder `$into`.

    `$as`, if not empty, is the name of the one on top. With `$overwrite` 0 nothing is done where a file
    exists. What is no regular file is not replaced: nothing is done then either, but that a file goes to
    where a symbolic link points. `fail` is a function that says its argument and exits, `refuse` one that
    says so of what is there; `$near` is a file to remove if the script ends. It exits with 1 where all is in
    place, but not with all modes of folders.
    """
    folders = [member for member in members if member.is_folder]
    others = [member for member in members if not member.is_folder]
    within: dict[str, list[Member]] = {}
    for member in others:
        within.setdefault(posixpath.dirname(member.name), []).append(member)
    lines = [_PLACING, "all() {", ":"]
    for top, below in _by_top(folders):
        names = [shlex.quote(_below(member.name, top)) for member in below]
        lines.append(f"at {shlex.quote(top)}")
        lines.append('if [ -d "$to" ]; then')
        lines += _batches("folders", names)
        for member in below:
            parent = within.get("" if member.name == "." else member.name, [])
            target = f'"$to"{shlex.quote(_below(member.name, top) + "/")}'
            lines += _batches(f"files {target}", [_staged(each.name) for each in parent if not each.link])
            lines += _batches(f"links {target}", [_staged(each.name) for each in parent if each.link])
        lines += _modes(reversed(below), top)
        lines.append(
            'elif [ $pass = look ]; then if [ -e "$to" ] || [ -L "$to" ]; then fail "$to: not a folder"; fi'
        )
        lines.append("else")
        lines.append(f'mv -f -- {_staged(top)} "$to" || exit 1')
        lines += _modes(reversed([member for member in below if member.info.st_mode & _RWX != _RWX]), top)
        lines.append("fi")
    for member in others:
        if "/" not in member.name and not any(folder.name == "." for folder in folders):
            lines.append(f"at {shlex.quote(member.name)}")
            lines.append(f'file {_staged(member.name)} "$to"')
    lines += ["}", "pass=look; all", "pass=put; all", "exit $bad"]
    return "\n".join(lines) + "\n"


def _by_top(members: Sequence[Member]) -> Iterator[tuple[str, list[Member]]]:
    tops: dict[str, list[Member]] = {}
    for member in members:
        tops.setdefault(member.top, []).append(member)
    yield from tops.items()


def _below(name: str, top: str) -> str:
    """What follows the top-level name, with its slash."""
    if top == ".":
        return "" if name == "." else f"/{name}"
    return name[len(top) :]


def _staged(name: str) -> str:
    return '"$PWD"' if name == "." else shlex.quote(f"./{name}")


def _batches(command: str, names: list[str]) -> Iterator[str]:
    while names:
        count, length = 0, 0
        while count < len(names) and length < _BATCH:
            length += len(names[count])
            count += 1
        yield f"{command} {' '.join(names[:count])}"
        names = names[count:]


def _modes(folders: Iterable[Member], top: str) -> list[str]:
    return [
        f'modes {stat.S_IMODE(member.info.st_mode):o} "$to"{shlex.quote(_below(member.name, top))}'
        for member in folders
    ]


def sum_line(name: str, digest: str) -> bytes:
    """A line as sha256sum prints and reads it; nothing for a name that its versions read differently."""
    if "\r" in name:
        return b""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  ./{escaped}\n".encode("utf-8", "surrogateescape")


def read_sums(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    """The plain names and sums that sha256sum or openssl print, which does not escape the ends of lines."""
    whole: list[list[bytes]] = []
    for line in lines:
        if whole and not re.match(rb"\\?[0-9a-f]{64} [ *]", line):
            whole[-1].append(line)
        else:
            whole.append([line])
    return [read_sum_line(b"\n".join(parts)) for parts in whole]


def read_sum_line(line: bytes) -> tuple[str, str]:
    """The plain name and the sum of a line of sha256sum."""
    escaped = line.startswith(b"\\")
    digest, _, name = line[escaped:].partition(b" ")
    text = name[1:].decode("utf-8", "surrogateescape")
    if escaped:
        text = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)
    return plain(text), digest.decode("ascii", "replace")


def _digest(path: str) -> str:
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            hasher.update(data)
    return hasher.hexdigest()


def _header(
    name: str, size: int, mode: int = 0o600, mtime: float = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime, info.type, info.linkname = size, mode, int(mtime), kind, link
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
