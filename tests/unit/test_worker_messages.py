"""What coordinators, workers and relays send each other arrives as it was sent."""

import pickle
from typing import get_args

import pytest

from paramgmt_tasks import Host, Outcome, RemoteCommand, Settings
from paramgmt_tasks.engines import messages
from paramgmt_tasks.engines.messages import HostDone
from paramgmt_tasks.transfer import relay_messages
from paramgmt_tasks.transfer.local_tree import Tree

DONE = HostDone(3, Outcome.FAILED, 1, 2, "return code 1", 0, 1.5, 2.5, 1.75, 2.0, ([b"out", (0, 99)], []))
MESSAGES = [
    messages.BeginRun(1, "/home", RemoteCommand("true"), Settings(), True, False, True, None),
    messages.AddHosts(1, [(0, Host("a", "a"))]),
    messages.Permit(1, [0, 2]),
    messages.Halt(1, "a canary failed"),
    messages.Cancel(1, 6.0),
    messages.EndRun(1),
    messages.RelayToWorker(1, relay_messages.ScriptText("script", b"true")),
    messages.WorkerPid(4711),
    messages.LogLine(30, "a warning"),
    messages.OutputFile(1, 2),
    messages.Ready(1, 0),
    messages.Started(1, 0),
    messages.Written(1, 2, 0, ([b"text"], [])),
    messages.Results(1, 2, [DONE]),
    messages.Moved(1, 99, 100.0),
    messages.BatchRefused(1, "no identity", [0]),
    messages.RelayFromWorker(1, relay_messages.PullData(0, [b"data"])),
]
RELAYED = [
    relay_messages.ScriptText("script", b"true"),
    relay_messages.TreeBegins(("src",), Tree()),
    relay_messages.FilePieces(("src",), [("src/file", b"data")]),
    relay_messages.TreeEnds(("src",), ["src/file: changed while it was read"]),
    relay_messages.Unwanted(0),
    relay_messages.PullBegins(0, "gzip"),
    relay_messages.PullData(0, [b"data"]),
    relay_messages.PullEnds(0, 0),
]


@pytest.mark.parametrize("message", MESSAGES + RELAYED, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    arrived = pickle.loads(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    assert type(arrived) is type(message)
    assert arrived == message


def test_each_kind_of_message_is_tried_here() -> None:
    assert {type(message) for message in MESSAGES} == {
        *get_args(messages.ToWorker),
        *get_args(messages.FromWorker),
    }
    assert {type(message) for message in RELAYED} == {
        *get_args(relay_messages.Delivery),
        *get_args(relay_messages.Pulled),
    }


def test_times_are_those_of_our_clock_and_the_start_lies_between_them_nevertheless() -> None:
    done = DONE.without_skew(ahead=1.0, uncertain=0.25)
    assert (done.started, done.finished) == (0.5, 1.5)
    assert (done.requested, done.confirmed) == (0.5, 1.25)
    assert HostDone(0, Outcome.CANCELLED).without_skew(0.0, 0.0) == HostDone(0, Outcome.CANCELLED)
