"""SFTP's questions, answers and packets under public names, for a client that checks what it is sent."""

import paramiko

from .upstream import PrivateSFTPClient


class SFTPSession(PrivateSFTPClient):
    """paramiko's client, whose subclass decides how a packet is read and what a status means."""

    def read_packet(self) -> tuple[int, bytes]:
        """The kind and the content of the next packet; to be overridden."""
        return super()._read_packet()

    def check_status(self, message: paramiko.Message) -> None:
        """Raise what a status means, unless it is that all is well; to be overridden."""
        super()._convert_status(message)

    def on_question(self) -> None:
        """Something is about to be asked, so that an answer is due; to be overridden."""

    def ask(self, kind: int, *fields: object) -> tuple[int, paramiko.Message]:
        """Ask something, and wait for the kind and the content of the answer."""
        return self._request(kind, *fields)

    def ask_ahead(self, answers: "Answers", kind: int, *fields: object) -> int:
        """Ask something whose answer goes to `answers`; its number."""
        return self._async_request(answers, kind, *fields)

    def receive(self) -> None:
        """Wait for an answer to something that was asked ahead."""
        self._read_response()

    def read_exactly(self, count: int) -> bytes:
        """The next bytes."""
        return self._read_all(count)

    # What paramiko calls.

    def _read_packet(self) -> tuple[int, bytes]:
        return self.read_packet()

    def _convert_status(self, msg: paramiko.Message) -> None:
        self.check_status(msg)

    def _async_request(self, fileobj: object, t: int, *args: object) -> int:
        self.on_question()
        return super()._async_request(fileobj, t, *args)


class Answers:
    """The answers to what was asked ahead, by number, in any order."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, paramiko.Message]] = {}

    def on_answer(self, kind: int, message: paramiko.Message, number: int) -> None:
        """An answer has come."""
        self.found[number] = kind, message

    def _async_response(self, t: int, msg: paramiko.Message, num: int) -> None:
        self.on_answer(t, msg, num)
