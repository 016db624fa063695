"""What is sent to a login shell that is not known: shells of csh's kind, fish and others take it alike."""

import functools
import re

#: What is sent before input that matters, for startup files of a login shell that read some: lines, and one
#: that ends them; and what skips all that, for any shell of sh's kind.
PREAMBLE_LINES = b"\n" * 8
PREAMBLE = PREAMBLE_LINES + b"paramgmt\n"
SKIP_PREAMBLE = "while read -r paramgmt_line; do case $paramgmt_line in paramgmt) break;; esac; done; "

#: What some login shell does not take literally between single quotes: sh the quote; csh `!` and the end of
#: a line; fish a backslash before another or a quote. Bytes that are no ASCII depend on the host's locale.
_SPECIAL = re.compile(r"[^ -~]+|[!'\\]")
#: Characters of a word, which csh limits to 1023.
_WORD = 900
#: The same, and what a shell on the way to it, such as that of `sudo -i`, may replace.
_SPECIAL_ON_THE_WAY = re.compile(r"[^ -~]+|[!'\\$]")
_ESCAPE = len(r"\0000")


@functools.lru_cache(64)  # most hosts get the same
def by_sh(script: str) -> str:
    r"""A command by which any login shell has /bin/sh run `script`, in place of itself.

    The script must not use the positional parameters before it has set them. Escapes are those that POSIX's
    printf undoes with %b; the shell that reads them is /bin/sh already.

    >>> by_sh('exec uname -a')
    "exec /bin/sh -c 'exec uname -a'"
    >>> by_sh("echo it's")
    'exec /bin/sh -c \'eval "$(printf %b "$@")"\' sh \'echo it\\0047s\''
    """
    escaped = _SPECIAL.sub(_escaped, script)
    if escaped == script and len(script) <= _WORD:
        return f"exec /bin/sh -c '{script}'"
    return f"exec {_undone(escaped)}"


def encoded(script: str) -> str:
    """As `by_sh`, for what leads to another user: it and the login shells on the way leave this unchanged."""
    return _undone(_SPECIAL_ON_THE_WAY.sub(_escaped, script))


def _undone(escaped: str) -> str:
    words = " ".join(f"'{word}'" for word in _words(escaped))
    return f"""/bin/sh -c 'eval "$(printf %b "$@")"' sh {words}"""


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\0{byte:03o}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _words(escaped: str) -> list[str]:
    """The text in words of which none ends within an escape."""
    words, at = [], 0
    while at < len(escaped):
        end = min(at + _WORD, len(escaped))
        within = escaped.rfind("\\", end - _ESCAPE + 1, end)
        if within >= 0 and end < len(escaped):
            end = within
        words.append(escaped[at:end])
        at = end
    return words
