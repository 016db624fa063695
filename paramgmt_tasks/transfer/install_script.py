"""The script with which a push ends: it gives the files that have come their names on the host."""

import posixpath
import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .local_tree import Member

_RWX = stat.S_IRWXU
#: Characters of names in one command.
_BATCH = 50_000

#: What the script begins with. It goes through all files twice: to look, and to put them in place.
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
    """The script that moves the files of the folder it runs in to their names in the folder `$into`.

    `$as`, if not empty, is the name of the topmost. With `$overwrite` 0 nothing is done if a file exists.
    What is not a regular file is not replaced, and nothing is done then either; but a symbolic link is
    followed to the file that it points to. `fail` is a function that prints its argument and exits, `refuse`
    one that does so for what is there; `$near` is a file to remove when the script ends. It exits with 1 if
    all is in place, but some folders could not be given their modes.
    """
    folders = [member for member in members if member.is_folder]
    others = [member for member in members if not member.is_folder]
    within: dict[str, list[Member]] = {}
    for member in others:
        within.setdefault(posixpath.dirname(member.name), []).append(member)
    lines = [_PLACING, "all() {", ":"]
    for top, below in _by_top(folders):
        lines += _top_folder(top, below, within)
    for member in others:
        if "/" not in member.name and not any(folder.name == "." for folder in folders):
            lines.append(f"at {shlex.quote(member.name)}")
            lines.append(f'file {_staged(member.name)} "$to"')
    lines += ["}", "pass=look; all", "pass=put; all", "exit $bad"]
    return "\n".join(lines) + "\n"


def _top_folder(top: str, folders: Sequence[Member], within: Mapping[str, Sequence[Member]]) -> Iterator[str]:
    """What is done with a topmost folder: merged into one that is there, else moved."""
    names = [shlex.quote(_below(member.name, top)) for member in folders]
    yield f"at {shlex.quote(top)}"
    yield 'if [ -d "$to" ]; then'
    yield from _batches("folders", names)
    for folder in folders:
        inside = within.get("" if folder.name == "." else folder.name, [])
        target = f'"$to"{shlex.quote(_below(folder.name, top) + "/")}'
        yield from _batches(f"files {target}", [_staged(each.name) for each in inside if not each.link])
        yield from _batches(f"links {target}", [_staged(each.name) for each in inside if each.link])
    yield from _modes(reversed(folders), top)
    yield 'elif [ $pass = look ]; then if [ -e "$to" ] || [ -L "$to" ]; then fail "$to: not a folder"; fi'
    yield "else"
    yield f'mv -f -- {_staged(top)} "$to" || exit 1'
    yield from _modes(reversed([member for member in folders if member.info.st_mode & _RWX != _RWX]), top)
    yield "fi"


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
