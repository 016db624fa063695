"""Local scripts as commands that a host can run, with standard input of their own."""

import secrets
import shlex
from pathlib import Path

from ..model import Host, UsageError, reason_of, substitute
from ..ssh import PREAMBLE, SKIP_PREAMBLE, by_sh

# The script is written to a folder of its own, so that it keeps its name and its standard input is free. The
# folder is removed when the script ends. An incomplete script, as when the connection breaks, is not run.
# Nobody can have made a folder of that name, so that no mktemp is needed, which some hosts do not have.
_LOADER = """\
d=
trap '[ -z "$d" ] || rm -rf "$d"' EXIT
trap 'exit 143' HUP INT TERM
fail() {{ echo "paramgmt: $1: the script is not run" >&2; exit 125; }}
for each in "${{TMPDIR:-/tmp}}" /tmp /var/tmp "$HOME"; do
  d=$each/paramgmt.{token}
  (umask 077; exec mkdir "$d") 2>/dev/null && break
  d=
done
[ "$d" ] || fail 'no folder can be made in TMPDIR, /tmp, /var/tmp or HOME'
{skip}
{read} > "$d"/{name} && [ "$(wc -c < "$d"/{name})" -eq {size} ] || fail 'it did not come whole'
{interpreter} "$d"/{name}{stdin}
exit $?"""


def read(path: str) -> bytes:
    """A script's text.

    Raises:
        UsageError: it cannot be read, or is no text.
    """
    try:
        body = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"script {path}: {reason_of(error)}") from None
    if not body.startswith(b"#!") and b"\0" in body.partition(b"\n")[0]:  # by which shells tell it, too
        raise UsageError(f"script {path}: a program, not a text: push it, and run it as a command")
    return body


def fill(text: bytes, host: Host) -> bytes:
    """A script's text for one host."""
    filled = substitute(text.decode("utf-8", "surrogateescape"), host.values, quoting=not host.classic)
    return filled.encode("utf-8", "surrogateescape")


def command(path: str, body: bytes, stdin: bytes | None) -> tuple[str, bytes]:
    """The command that runs a script, and what is sent to its standard input.

    Nothing is run unless all of the script has come. The `#!` line names the interpreter, else it is the
    login shell. Without `stdin` the script's standard input is empty.
    """
    loader = _LOADER.format(
        # Byte by byte if more follows: a larger read could consume some of that.
        read="cat" if stdin is None else f"dd bs=1 count={len(body)} 2>/dev/null",
        skip=SKIP_PREAMBLE,
        name=shlex.quote(Path(path).name),
        size=len(body),
        token=secrets.token_hex(8),
        interpreter=_interpreter(body),
        stdin=" </dev/null" if stdin is None else "",
    )
    return by_sh(loader), PREAMBLE + body + (stdin or b"")


def _interpreter(body: bytes) -> str:
    if not body.startswith(b"#!"):
        return '"${SHELL:-/bin/sh}"'
    line = body.partition(b"\n")[0][2:].decode("utf-8", "replace").strip()
    # As the kernel does it: everything after the first word is one argument.
    program, _, argument = line.partition(" ")
    return " ".join(shlex.quote(word) for word in (program, argument.strip()) if word)
