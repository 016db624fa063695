"""Settings, as type checkers see them."""

from paramgmt_tasks.model.settings import Changes, Settings


def test_settings_of_one_call_are_all_settings() -> None:
    ours, theirs = Changes.__annotations__, dict(Settings.__annotations__)
    assert list(ours) == list(theirs)
    assert {name for name in ours if repr(ours[name]) != repr(theirs[name])} == {"env", "ssh_options"}
