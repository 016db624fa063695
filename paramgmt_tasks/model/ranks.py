"""Ranks: where each host stands in the list of a run, and who the others are."""

from collections.abc import Sequence
from typing import NamedTuple

#: The names that stand for it in texts.
NAMES = ("RANK", "COUNT", "FIRST", "ALL")


class Rank(NamedTuple):
    """A host's place among all hosts of a run, whose texts all of them share."""

    #: 0 is the first.
    number: int
    hosts: int
    #: The address of the first host.
    first: str
    #: The addresses of all, in the order of the list, with commas between them.
    everyone: str

    @property
    def values(self) -> dict[str, str]:
        """What each `?NAME` is replaced by.

        >>> ranks(["10.0.0.1", "10.0.0.2"])[1].values
        {'RANK': '1', 'COUNT': '2', 'FIRST': '10.0.0.1', 'ALL': '10.0.0.1,10.0.0.2'}
        """
        return dict(zip(NAMES, (str(self.number), str(self.hosts), self.first, self.everyone), strict=True))


def ranks(addresses: Sequence[str]) -> list[Rank]:
    """The rank of each host of a list, given where others reach them."""
    everyone = ",".join(addresses)
    return [Rank(number, len(addresses), addresses[0], everyone) for number in range(len(addresses))]
