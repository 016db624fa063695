"""Values of Ansible's variables as they are meant: what is marked, and templates that only name variables."""

import re
from collections.abc import Mapping

from ..model import UsageError

#: What marks text that is no template, in JSON.
_UNSAFE = "__ansible_unsafe"
_TEMPLATE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
#: How deep variables may name others, and how long that may become.
_DEEPEST, _LONGEST = 8, 65536


class Unsafe(str):
    """Text that is no template, whatever is in it."""


def unmarked(value: dict[str, object]) -> object:
    """An object of JSON, or the text that it marks.

    >>> unmarked({"__ansible_unsafe": "{{ a }}"}), unmarked({"a": 1})
    ('{{ a }}', {'a': 1})
    """
    if len(value) == 1 and isinstance(value.get(_UNSAFE), str):
        return Unsafe(value[_UNSAFE])
    return value


def filled(host: str, variables: Mapping[str, object], what: str) -> dict[str, object]:
    """The variables of a host, with those templates filled in that name nothing but variables.

    Others are left as they are: they need Ansible, and what it knows in a play. Errors begin with `what`.

    >>> filled("web1.lab", {"fqdn": "{{ inventory_hostname_short }}.{{ zone }}", "zone": "example"}, "a.yml")
    {'fqdn': 'web1.example', 'zone': 'example'}
    >>> filled("web1", {"port": "{{ 22 if old else 2222 }}"}, "a.yml")
    {'port': '{{ 22 if old else 2222 }}'}

    Raises:
        UsageError: text that is not Unicode.
    """
    found: dict[str, object] = {}
    known: Mapping[str, object] | None = None
    for name, value in variables.items():
        if isinstance(value, str):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise UsageError(f"{what}: {host!r}: {name} has half a character: {value!r}")
            if "{{" in value and not isinstance(value, Unsafe):
                names = {"inventory_hostname": host, "inventory_hostname_short": host.partition(".")[0]}
                known = known or {**variables, **names}
                value = _filled(value, known)
            value = str(value)
        found[name] = value
    return found


def _filled(text: str, known: Mapping[str, object]) -> str:
    result = text
    for _ in range(_DEEPEST):
        if not all(isinstance(known.get(name), (str, int, float)) for name in _TEMPLATE.findall(result)):
            return text
        result = _TEMPLATE.sub(lambda match: str(known[match[1]]), result)
        if len(result) > _LONGEST:
            return text
        if "{{" not in result and "{%" not in result:
            return result
    return text
