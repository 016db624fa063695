"""How a command under way on a host is ended: TERM to its process group, then KILL, until it is gone.

SSH's own signal request (RFC 4254, section 6.9) says nothing of what became of it, and OpenSSH before 9.8
refuses it to root. So OpenSSH and dropbear are asked over a second channel of the same connection: the
process of this connection is the parent of both commands. The request is what is left if that cannot be; it
reaches all of the process group on some servers, and with others nothing is claimed.
"""

import contextlib
import shlex
import time
from collections.abc import Callable

import paramiko

from ..model import PATIENCE
from ..steps import Steps
from .become import Become
from .login_shell import by_sh
from .paramiko_internals import ExecChannel

#: Seconds that a command has to end by itself after TERM, as the script has them too.
GRACE = 2.0
_AFTER_KILL = 1.0
#: Seconds that the script may begin to look later than the command began to run, both after being asked for.
_LATE = 1.0

# Its arguments are the process of the connection, the one that this script was started as, the command's age
# in hundredths of a second (Linux's ticks), SSH_CONNECTION, and the process group to end, 0 if that is to be
# found. Then nothing is done unless the first is OpenSSH's
# for one connection: a server that serves all of them from one process is the parent of what others run.
# What an earlier command has left running is older than this one. sshd makes each command the leader of a
# session, in which csh and others start what is in the background in groups of their own. If the command
# itself has ended, what it has left is known by the connection in its environment; of several sessions
# without a leader the others are of daemons, which left the command's own.
# dropbear runs all commands of a connection in its own process group, so there $groups has single processes:
# those that descend from a younger child of the connection's. What else is left in that group may be of an
# earlier command: it is not touched, and nothing is claimed.
_SCRIPT = r"""
exec </dev/null >/dev/null 2>&1
LC_ALL=C; export LC_ALL
session=$1 own=$2 age=$3 connection=$4 groups=$5 proc= since=0 dropbear= of=-
[ -r /proc/self/stat ] && read -r up _ </proc/uptime && proc=1 since=$((${up%.*}${up#*.} - age))
title() { if [ $proc ]; then tr '\000' ' ' <"/proc/$1/cmdline"; else ps -o args= -p "$1"; fi; }
table() {
  if [ $proc ]; then
    cat /proc/[0-9]*/stat | sed '
      s/^\([0-9]*\) (.*) \(.\) \([^ ]*\) \([^ ]*\) \([^ ]*\) \([^ ]* \)\{15\}\([^ ]*\) .*/\1 \3 \4 \2 \7 \5/'
  else ps -A -o pid= -o ppid= -o pgid= -o stat=; fi
}
younger() {  # those in the group of dropbear's connection, with their parents
  table | sort -n | {
    mine=" $own "
    while read -r pid parent group state began id; do
      case $mine in *" $pid "*) continue ;; *" $parent "*) mine="$mine$pid "; continue ;; esac
      case $group:$state in "$session":[!ZX]*) ;; *) continue ;; esac
      [ "$pid" = "$session" ] || [ "${began:-$since}" -lt "$since" ] || echo "$pid $parent"
    done
  }
}
find() {
  [ -z "$dropbear" ] || {
    younger | {
      tree=" $session $groups "
      while read -r pid parent; do
        case $tree in *" $parent "*) tree="$tree$pid "; printf '%s ' "$pid" ;; esac
      done
    }
    return
  }
  table | while read -r pid parent group state began id; do
    [ "$parent" = "$session" ] && [ "$pid" = "$group" ] && [ "$pid" != "$own" ] || continue
    [ "${began:-$since}" -ge "$since" ] || continue
    case $(title "$pid") in *internal-sftp*|*sftp-server*) ;; *) printf '%s ' "$group" ;; esac
  done
}
orphans() {
  [ $proc ] && [ "$connection" ] || return
  for file in $(grep -l "SSH_CONNECTION=$connection" /proc/[0-9]*/environ); do
    read -r line <"${file%environ}stat" || continue
    set -- ${line##*) }
    [ ! -d "/proc/$4" ] && [ "${20}" -ge "$since" ] && echo "$4"
  done | sort -n | head -n 1
}
jobs() {  # the groups of $sessions
  for id in $sessions; do
    echo "$id"
    table | sed -n "s/^[0-9]* [0-9]* \([0-9]*\) [^ZX] [0-9]* $id\$/\1/p"
  done | sort -u
}
left() {
  [ -z "$dropbear" ] || { younger; return; }
  for group in $groups; do table | sed -n "/^ *[0-9]* *[0-9]* *$group *[^ZX0-9 ]/p"; done
}
signal() {
  sent=1
  if [ "$dropbear" ]; then groups="$groups $(find)"
  elif [ $proc ]; then groups=$(jobs)
  fi
  for group in $groups; do kill "-$1" "$of$group" && sent=0; done
  return $sent
}
give() {
  for seconds in $1; do
    sleep "$seconds" || sleep 1
    signal 0 && [ -n "$(left)" ] || break
  done
  [ -n "$(left)" ] || exit 0
}
if [ "$groups" = 0 ]; then
  case $(title "$session") in sshd*@*) ;; *dropbear*) dropbear=1 of= ;; *) exit 3 ;; esac
  groups=
  groups=$(find)
  [ "$groups" ] || groups=$(orphans)
  for seconds in 0.1 0.2 0.4; do
    [ -z "$groups" ] || break
    sleep "$seconds" || sleep 1
    groups=$(find)
  done
fi
[ -n "$groups" ] || exit 4
sessions=$groups
signal TERM
give '0.02 0.03 0.05 0.1 0.2 0.3 0.6 0.7'
signal KILL
give '0.02 0.03 0.05 0.1 0.3'
exit 5
"""
_GONE, _NOT_FOUND, _LEFT = 0, 4, 5
_UNKNOWN = -1
#: Servers that are asked by the script, and those that signal all of a command's process group.
_ASKED = ("-OpenSSH", "dropbear")
_SIGNAL_GROUPS = ("-OpenSSH_", "paramgmt_sandbox")


def terminate(
    channel: ExecChannel, drain: Callable[[], None], become: Become | None = None, held: bool = False
) -> Steps[bool]:
    """Steps that end the command on `channel`; whether all of its process group is known to be gone.

    `drain` keeps what it still writes. `become` is what leads to another user if the command is that one's:
    it is ended with the rights of the same. One that is `held` ends itself when its input does.
    """

    def is_over() -> bool:
        drain()  # the end comes after what was written
        return _over(channel)

    if is_over():
        return True
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        if held:
            channel.shutdown_write()
            yield from channel.until(is_over, deadline)
            return is_over()
        age = int((time.monotonic() - channel.began + _LATE) * 100)
        code = yield from _run_helper(channel, age, become, deadline)
        if become and code == _GONE:
            # What leads to another user, and its terminal, may hold back what was written last.
            yield from channel.until(is_over, min(deadline, time.monotonic() + _AFTER_KILL))
        if code not in (_GONE, _NOT_FOUND, _LEFT, _UNKNOWN):
            for name, seconds in (("TERM", GRACE), ("KILL", _AFTER_KILL)):
                if not is_over():
                    channel.signal(name)
                    yield from channel.until(is_over, time.monotonic() + seconds)
        return code == _GONE or (code not in (_LEFT, _UNKNOWN) and _signals_groups(channel) and is_over())
    return False


def _signals_groups(channel: ExecChannel) -> bool:
    """Whether the server is one that signals all of a command's process group."""
    version = channel.transport.remote_version
    return any(name in version for name in _SIGNAL_GROUPS) and "Windows" not in version


def _over(channel: ExecChannel) -> bool:
    """Whether a command has ended, and all that could write to its streams."""
    return channel.closed_by_peer or (bool(channel.eof_received) and channel.has_status())


def _run_helper(channel: ExecChannel, age: int, become: Become | None, deadline: float) -> Steps[int | None]:
    """Run the script beside what is on `channel`; its return code, None if it could not be run."""
    group = become.group if become else 0
    # If the key runs one command whatever it is asked for, asking would run that once more.
    version = channel.transport.remote_version
    knows = group > 0 and "dropbear" not in version  # whose own group it is
    if channel.transport.forced or not (
        knows or any(name in version for name in _ASKED[: 1 if become else 2])
    ):
        return None
    run = f"exec /bin/sh -c {shlex.quote(_SCRIPT)} sh"
    if become:
        become = become.another(f"{run} 0 0 {age} '' {group}")
        command = by_sh(become.command)
    else:
        command = by_sh(f'{run} "$PPID" "$$" {age} "$SSH_CONNECTION" 0')
    try:
        helper = yield from channel.another(max(0.1, deadline - time.monotonic()))
        if become and become.terminal:
            yield from helper.request_terminal(b"dumb")
        helper.request(command.encode(), no_input=become is None)
        helper.flush()
        yield from helper.confirmation()
        if become:
            yield from become.negotiate(helper, deadline)
            helper.shutdown_write()
    except paramiko.SSHException:
        return None
    yield from helper.until(helper.has_status, deadline)
    code = helper.exit_status  # as paramiko, -1 if there is none
    helper.close()
    return code
