"""What the two sides of the relay send each other: files for workers, and what their hosts send back."""

from dataclasses import dataclass

from .local_tree import Tree

#: By which the trees of a run are told apart: the sources of a push on one host.
TreeKey = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScriptText:
    """A script, `path` as the operation names it; `text` before substitution."""

    path: str
    text: bytes


@dataclass(frozen=True, slots=True)
class TreeBegins:
    """The names, kinds and modes of what is pushed; its files' bytes follow."""

    key: TreeKey
    tree: Tree


@dataclass(frozen=True, slots=True)
class FilePieces:
    """The next bytes of some files of a tree, by their names in it."""

    key: TreeKey
    pieces: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class TreeEnds:
    """All files of a tree have been sent; `changed` says which of them changed while they were read."""

    key: TreeKey
    changed: list[str]


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Nothing more is wanted of what this host sends."""

    position: int


#: To a worker.
Delivery = ScriptText | TreeBegins | FilePieces | TreeEnds | Unwanted


@dataclass(frozen=True, slots=True)
class PullBegins:
    """A host begins to send, compressed by what `coded` names; what it has sent before is void."""

    position: int
    coded: str


@dataclass(frozen=True, slots=True)
class PullData:
    """The next bytes that a host sends."""

    position: int
    pieces: list[bytes]


@dataclass(frozen=True, slots=True)
class PullEnds:
    """A host has sent all that it could, and the command that did so ended with a return code."""

    position: int
    return_code: int


#: From a worker.
Pulled = PullBegins | PullData | PullEnds
