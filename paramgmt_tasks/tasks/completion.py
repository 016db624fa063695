"""What may stand behind an option that is being typed, for the completion of shells.

A shell hands over what was typed as one text, in which blanks at the end are lost. bash has parted it at `@`,
`=` and `:`, and expects what follows the last such mark. All shells expand what they are offered: so only
names that mean nothing to them are.
"""

import re
from collections.abc import Mapping, Sequence

from .option_table import Option

_MARKS = re.compile(r"[@=:]+")
#: What no shell expands, and in front of it also what joins the terms of an expression.
_NAME, _BEFORE = re.compile(r"[\w.@%+:,/\[\]-]+"), re.compile(r"[\w.@%+=:,/\[\]&!^*-]*")
#: Up to the last term of an expression; `,` within a range joins none.
_TERMS = re.compile(r".*[,&!^](?![^\[]*\])")


def joined(words: Sequence[str]) -> tuple[list[str], int]:
    """The words as they were typed, and how much of the last one the shell will keep.

    >>> joined(["--hosts", "@", "failed", ":", "2026"])
    (['--hosts', '@failed:2026'], 8)
    >>> joined(["-x", "web1,", "@", "f"]), joined(["--hosts", "=", "we"]), joined(["-f", "we"])
    ((['-x', 'web1,@f'], 5), (['--hosts=we'], 8), (['-f', 'we'], 0))
    """
    found: list[str] = []
    kept, goes_on = 0, False
    for word in words:
        is_mark = _MARKS.fullmatch(word) is not None
        # An option's value may begin with a mark, but for the one that is between them.
        if goes_on or (is_mark and found and (word[0] == "=" or not found[-1].startswith("-"))):
            found[-1] += word
            kept = kept if not is_mark else len(found[-1]) - (word[-1] == "@")
        else:
            found.append(word)
            kept = 0
        goes_on = is_mark
    return found, kept


def candidates(
    options: Sequence[Option], words: Sequence[str], kept: int, configured: Mapping[str, Sequence[str]]
) -> list[str]:
    """What the last of a task's words may become, if it is the value of an option; else nothing.

    `configured` are the lists that hold if none is typed. A value that is whole gets nothing: what would be
    offered may stand behind the blank after it.
    """
    option, before, value = _being_typed(options, words)
    if option is None or not _BEFORE.fullmatch(value):
        return []
    expression = option.names == "hosts" or value.startswith("@")
    term = _TERMS.match(value) if expression else None
    head = term[0] if term else ""
    names = _names(option, value[len(head) :], words, options, configured)
    found = [f"{head}{name}" for name in dict.fromkeys(names) if _NAME.fullmatch(name)]
    found = [name for name in found if name.startswith(value)]
    if value in found:
        return []
    return [f"{before}{name}"[kept:] for name in found]


def _being_typed(options: Sequence[Option], words: Sequence[str]) -> tuple[Option | None, str, str]:
    """The option whose value is typed, what is before that in the last word, and the value so far."""
    flags = {f"--{option.flag}": option for option in options if option.kind is not bool}
    flags |= {f"-{option.short}": option for option in options if option.short and option.kind is not bool}
    last = words[-1]
    if last in flags:
        return flags[last], "", ""
    if len(words) > 1 and words[-2] in flags:
        return flags[words[-2]], "", last
    flag, equals, value = last.partition("=")
    if equals and flag in flags:
        return flags[flag], f"{flag}=", value
    if last[:2] in flags:
        return flags[last[:2]], last[:2], last[2:]
    return None, "", ""


def _names(
    option: Option,
    term: str,
    words: Sequence[str],
    options: Sequence[Option],
    configured: Mapping[str, Sequence[str]],
) -> Sequence[str]:
    """All names there are for an option, the files among them only if there are others to choose from."""
    if option.choices or not option.names:
        return option.choices
    from ..inventory import offered

    runs = (
        [name for name in offered.runs() if ":" in term or ":" not in name]
        if option.name != "inventory"
        else []
    )
    known = offered.hosts(_lists_of(words, options, configured))
    if option.names == "hosts":
        return [*known, *runs]
    groups = [name for name in known if name[0] == "@"] if term[:1] == "@" else []
    found = [name for name in (*offered.lists(), *runs, *groups) if name.startswith(term)]
    return [*found, *offered.files()] if found and not term.startswith("@") else found


def _lists_of(
    words: Sequence[str], options: Sequence[Option], configured: Mapping[str, Sequence[str]]
) -> list[str]:
    """The lists that are typed, else those configured."""
    found: list[str] = []
    for option in options:
        if option.names == "lists":
            typed = [
                value
                for at in range(1, len(words))
                for own, _, value in [_being_typed(options, words[: at + 1])]
                if own is option and value and at + 1 < len(words)
            ]
            found += typed or configured.get(option.name, ())
    return [name for name in found if not name.startswith("@")]
