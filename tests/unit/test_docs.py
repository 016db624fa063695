"""Numbers in the documentation are those of the program."""

from pathlib import Path

import pytest

from paramgmt_tasks import Settings, fleet
from paramgmt_tasks.classic import executables
from paramgmt_tasks.engines import dask_actor
from paramgmt_tasks.engines.dask_cluster import CALL_TIMEOUT
from paramgmt_tasks.history import KEPT
from paramgmt_tasks.model import output
from paramgmt_tasks.ssh import allowance, command, termination
from paramgmt_tasks.ssh.connection import CONNECT_TIMEOUT
from paramgmt_tasks.ssh.paramiko_internals import packetizer, stream, transport
from paramgmt_tasks.transfer import script_session

ROOT = Path(__file__).parent.parent.parent
WORDS = {1: "one", 2: "two", 3: "three", 60: "a minute"}
MB = 1024 * 1024


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("README.md", f"how many hosts are worked on at once ({Settings.fanout})"),
        ("README.md", f"how often a host is tried ({Settings.attempts})"),
        ("README.md", f"all attempts together (ConnectTimeout, else {CONNECT_TIMEOUT:.0f})"),
        ("README.md", f"KILL {WORDS[int(termination.GRACE)]} seconds later"),
        ("README.md", f"exit statuses (0, {executables._FAILED} where a host failed, 2)"),
        ("docs/guide/runs.md", f"The last {KEPT} runs are kept"),
        ("README.md", f"{output.IN_MEMORY // MB} MB a run are kept in memory"),
        ("docs/performance.md", f"kept within {output.IN_MEMORY // MB} MB of memory a run"),
        ("docs/python.md", f"Without it the engine is `{Settings.engine}`"),
        ("docs/scaling.md", f"a process for each {fleet.HOSTS_A_PROCESS} hosts, but no more than processors"),
        ("docs/scaling.md", f"does not answer for {WORDS[int(CALL_TIMEOUT)]} counts as gone"),
        (
            "docs/scaling.md",
            f"pieces of at most {dask_actor._BATCH // MB} MB, with {dask_actor._FULL // MB} MB on their way",
        ),
        ("docs/security.md", f"a packet of more than {packetizer._LARGEST // 1024} KiB"),
        ("docs/security.md", f"more than the window allows ({allowance.BULK // MB} MB)"),
        (
            "docs/security.md",
            f"more than {allowance.USELESS}, and {allowance.USELESS_A_SECOND} more for each second",
        ),
        ("docs/security.md", f"a group of more than {allowance.LARGEST_GROUP} bits"),
        ("docs/security.md", f"have the thread after {transport._TURN * 1000:.0f} ms"),
        ("docs/security.md", f"until `--timeout`, without it {stream.DEAD:.0f} seconds"),
        ("docs/security.md", f"{Settings.max_output // 10**9} GB is kept (`--max-output`)"),
        ("docs/security.md", f"{script_session._MESSAGES // 1024} kB are kept of it"),
        ("docs/security.md", f"{command._TALK // 1024} kB are kept of it"),
        ("CHANGELOG.md", f"{Settings.fanout} hosts are worked on at once by default"),
        ("CHANGELOG.md", f"Output beyond {output.IN_MEMORY // MB} MB a run"),
    ],
)
def test_a_sentence_says_what_the_program_does(file: str, sentence: str) -> None:
    text = " ".join((ROOT / file).read_text().split())
    assert sentence in text


def test_what_settings_say_of_themselves_holds() -> None:
    text = " ".join((Settings.__doc__ or "").split())
    assert f"falls back to ConnectTimeout, then {CONNECT_TIMEOUT:.0f};" in text
