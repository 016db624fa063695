"""What holds for all host lists and all substitutions, tried on many."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from paramgmt_tasks.model.hosts import expand, fold, parse_entry, parse_lines
from paramgmt_tasks.model.substitution import substitute

LETTERS = st.text("abcdefgh", min_size=1, max_size=4)
NUMBERS = st.text("0123456789", max_size=4)
NAMES = st.builds("{}{}{}".format, LETTERS, NUMBERS, st.sampled_from(["", "-rack2", ".example.org", "x"]))
#: What a variable may be called.
KEYS = st.text("ABHOST_", min_size=1, max_size=5).filter(lambda name: name[0] != "_")
TEXTS = st.text("ABHOST_? é$\\\n", max_size=20)
quick = settings(max_examples=60, deadline=None, database=None)


@quick
@given(st.lists(NAMES, max_size=30))
def test_names_that_are_folded_expand_to_the_same_names(names: list[str]) -> None:
    expanded = [name for word in fold(names).split() for name in expand(word)]
    assert len(expanded) == len(set(names))
    assert set(expanded) == set(names)


@quick
@given(st.lists(NAMES, max_size=30), st.randoms())
def test_the_order_of_names_does_not_matter_to_their_folding(names: list[str], random) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    assert fold(shuffled) == fold(names) == fold(names * 2)


@quick
@given(st.lists(NAMES, min_size=1, max_size=10))
def test_hosts_of_a_list_keep_their_order_and_are_themselves_when_parsed_again(names: list[str]) -> None:
    hosts = parse_lines([f"{name}  # a comment" for name in names], "a list")
    assert [host.entry for host in hosts] == names
    assert [parse_entry(host.entry) for host in hosts] == hosts


@quick
@given(LETTERS, st.integers(0, 200), st.integers(0, 30), st.integers(1, 4))
def test_a_range_has_each_of_its_numbers_once_with_as_many_digits(
    name: str, first: int, more: int, digits: int
) -> None:
    start, end = f"{first:0{digits}}", f"{first + more:0{digits}}"
    assume(len(start) == len(end) or start[0] != "0")
    assert expand(f"{name}[{start}-{end}]") == [
        f"{name}{number:0{digits}}" for number in range(first, first + more + 1)
    ]


@quick
@given(TEXTS, st.dictionaries(KEYS, TEXTS))
def test_only_names_after_a_question_mark_are_replaced(text: str, values: dict[str, str]) -> None:
    if not any(f"?{name}" in text for name in values):
        assert substitute(text, values) == text
    assert substitute(text, {}) == text


@quick
@given(
    st.lists(st.tuples(st.text("abc ./-", max_size=5), KEYS), max_size=8),
    st.dictionaries(KEYS, st.text("ABHOST_?", max_size=6)),
)
def test_each_name_is_replaced_once_and_what_was_put_in_is_not_looked_at(
    parts: list[tuple[str, str]], values: dict[str, str]
) -> None:
    text = "".join(f"{before}?{name}." for before, name in parts)
    expected = "".join(f"{before}{_value(name, values)}." for before, name in parts)
    assert substitute(text, values) == expected


def _value(name: str, values: dict[str, str]) -> str:
    """What stands for ?NAME: the value of the longest variable with which it begins."""
    for length in range(len(name), 0, -1):
        if name[:length] in values:
            return values[name[:length]] + name[length:]
    return f"?{name}"
