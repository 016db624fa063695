"""The messages by which a client logs in (RFC 4252, RFC 4256): each request is followed by its answer."""

import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import paramiko
from paramiko.common import (
    MSG_SERVICE_ACCEPT,
    MSG_USERAUTH_BANNER,
    MSG_USERAUTH_FAILURE,
    MSG_USERAUTH_GSSAPI_ERROR,
    MSG_USERAUTH_GSSAPI_ERRTOK,
    MSG_USERAUTH_GSSAPI_TOKEN,
    MSG_USERAUTH_INFO_REQUEST,
    MSG_USERAUTH_SUCCESS,
    cMSG_SERVICE_REQUEST,
    cMSG_USERAUTH_GSSAPI_MIC,
    cMSG_USERAUTH_GSSAPI_TOKEN,
    cMSG_USERAUTH_INFO_RESPONSE,
    cMSG_USERAUTH_REQUEST,
)

from ...steps import Steps
from ..failures import NoAnswer
from .messages import MessageTransport
from .upstream import PrivateAuthHandler

#: Bytes of what a server shows that are kept.
_BANNER = 16 * 1024
#: The number of what answers a query for a key, a password that is to be changed, and questions: which it is
#: depends on what was asked (RFC 4252, section 6).
_MORE = MSG_USERAUTH_INFO_REQUEST


@dataclass(frozen=True)
class Question:
    """What a server asks somebody for; `echo` is whether the answer may be seen while it is typed."""

    prompt: str
    echo: bool
    title: str = ""
    instruction: str = ""


@dataclass(frozen=True)
class Answer:
    """What a server answers to a request: it `accepted`, or it refused and names `methods` that can go on.

    `partial` is whether the request was right, and more is wanted. `more` is whether it has neither accepted
    nor refused: it would take the key, wants another password, asks `questions`, or goes on with a `token`.
    """

    accepted: bool = False
    methods: tuple[str, ...] = ()
    partial: bool = False
    more: bool = False
    questions: tuple[Question, ...] = ()
    token: bytes | None = None


class UserAuth(PrivateAuthHandler):
    """Logs a user in over a transport, with one request for the service. `deadline` is in monotonic seconds.

    Each of the methods that return steps of an Answer raises:
        NoAnswer: no answer by the deadline.
        EOFError, OSError, paramiko.SSHException: the connection broke.
    """

    def __init__(self, transport: MessageTransport, user: str, deadline: float) -> None:
        super().__init__(transport)
        # As paramiko has it: they would keep each other until Python looks for cycles.
        self._messages: MessageTransport = weakref.proxy(transport)
        self._user, self.deadline = user, deadline
        self._requested = self._serviced = False
        self._answer: Answer | None = None
        #: What the server has shown, as it came.
        self.shown = b""

    @property
    def _handler_table(self) -> Mapping[int, Callable[[paramiko.Message], None]]:  # type: ignore[override]
        return {
            MSG_SERVICE_ACCEPT: self._parse_service_accept,
            MSG_USERAUTH_SUCCESS: self._parse_userauth_success,
            MSG_USERAUTH_FAILURE: self._parse_userauth_failure,
            MSG_USERAUTH_BANNER: self._parse_userauth_banner,
            _MORE: self._parse_userauth_info_request,
            MSG_USERAUTH_GSSAPI_TOKEN: self._parse_gssapi_token,
            # What is wrong with the ticket; that it is refused comes after it.
            MSG_USERAUTH_GSSAPI_ERROR: lambda m: None,
            MSG_USERAUTH_GSSAPI_ERRTOK: lambda m: None,
        }

    # -- requests

    def begin(self) -> Steps[None]:
        """Ask for the service, and wait for it: what the server says of its algorithms comes before.

        Otherwise the first request goes along, which no server refuses: a round trip less.
        """
        self._request_service()
        yield from self._until(lambda: self._serviced)

    def server_algorithms(self) -> list[str] | None:
        """The algorithms that the server accepts in signatures, None if it has not said (RFC 8308)."""
        said = self._messages.server_extensions.get("server-sig-algs")
        return None if said is None else said.decode("ascii", "replace").split(",")

    def none(self) -> Steps[Answer]:
        """Ask to be let in without anything, or for what there is."""
        return self._ask(self._request("none"))

    def query(self, algorithm: str, blob: bytes) -> Steps[Answer]:
        """Ask whether a key would do; the answer is `more` if it would."""
        request = self._request("publickey")
        request.add_boolean(False)
        request.add_string(algorithm)
        request.add_string(blob)
        return self._ask(request)

    def to_sign(self, algorithm: str, blob: bytes) -> bytes:
        """What has to be signed to log in with a key."""
        signed = paramiko.Message()
        signed.add_string(self._messages.session_id or b"")
        return signed.asbytes() + self._key_request(algorithm, blob).asbytes()

    def publickey(self, algorithm: str, blob: bytes, signature: bytes) -> Steps[Answer]:
        """Log in with a key, by the signature of `to_sign`."""
        request = self._key_request(algorithm, blob)
        request.add_string(signature)
        return self._ask(request)

    def _key_request(self, algorithm: str, blob: bytes) -> paramiko.Message:
        request = self._request("publickey")
        request.add_boolean(True)
        request.add_string(algorithm)
        request.add_string(blob)
        return request

    def send_password(self, password: str) -> Steps[Answer]:
        """Log in with a password; the answer is `more` if it has to be changed first."""
        request = self._request("password")
        request.add_boolean(False)
        request.add_string(password.encode("utf-8", "surrogateescape"))
        return self._ask(request)

    def interactive(self, submethods: str = "") -> Steps[Answer]:
        """Begin to be asked questions."""
        request = self._request("keyboard-interactive")
        request.add_string("")
        request.add_string(submethods)
        return self._ask(request)

    def respond(self, responses: list[str]) -> Steps[Answer]:
        """Answer questions."""
        response = paramiko.Message()
        response.add_byte(cMSG_USERAUTH_INFO_RESPONSE)
        response.add_int(len(responses))
        for each in responses:
            response.add_string(each.encode("utf-8", "surrogateescape"))
        return self._ask(response)

    def gssapi(self, mechanism: bytes) -> Steps[Answer]:
        """Begin to log in by a mechanism of GSSAPI, whose identifier is in DER (RFC 4462, section 3.2)."""
        request = self._request("gssapi-with-mic")
        request.add_int(1)
        request.add_string(mechanism)
        return self._ask(request)

    def gssapi_token(self, token: bytes) -> Steps[Answer]:
        """Go on with a token."""
        return self._ask(_with_string(cMSG_USERAUTH_GSSAPI_TOKEN, token))

    def to_authenticate(self) -> bytes:
        """Of what the integrity code at the end has to be (RFC 4462, section 3.5)."""
        signed = paramiko.Message()
        signed.add_string(self._messages.session_id or b"")
        return signed.asbytes() + self._request("gssapi-with-mic").asbytes()

    def finish_gssapi(self, token: bytes | None, code: bytes) -> Steps[Answer]:
        """Log in, after a last token, by the integrity code of `to_authenticate`."""
        if token:
            self._messages.send_message(_with_string(cMSG_USERAUTH_GSSAPI_TOKEN, token))
        return self._ask(_with_string(cMSG_USERAUTH_GSSAPI_MIC, code))

    def peer(self) -> tuple[str, int]:
        """The server's address; raises OSError if it is reached through something that is no socket."""
        address: tuple[str, int] = self._messages.getpeername()
        return address

    def _request(self, method: str) -> paramiko.Message:
        self.auth_method = method
        request = paramiko.Message()
        request.add_byte(cMSG_USERAUTH_REQUEST)
        request.add_string(self._user)
        request.add_string("ssh-connection")
        request.add_string(method)
        return request

    def _request_service(self) -> None:
        if not self._requested:
            self._requested = True
            request = paramiko.Message()
            request.add_byte(cMSG_SERVICE_REQUEST)
            request.add_string("ssh-userauth")
            self._messages.send_message(request)

    def _ask(self, message: paramiko.Message) -> Steps[Answer]:
        self._answer = None
        self._request_service()
        self._messages.send_message(message)
        yield from self._until(lambda: self._answer is not None)
        assert self._answer is not None  # for type checkers: that was waited for
        return self._answer

    def _until(self, done: Callable[[], bool]) -> Steps[None]:
        if not (yield from self._messages.until(done, self.deadline)):
            raise NoAnswer("no answer to authentication")

    def pause(self, seconds: float) -> Steps[None]:
        """Let some time pass, after which the connection is still there."""
        yield from self._messages.until(lambda: False, time.monotonic() + seconds)

    # -- answers

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        self._serviced = True

    def _parse_userauth_success(self, m: paramiko.Message) -> None:
        if not self._requested:
            raise paramiko.SSHException("the server says that it has let in whom it was not asked to")
        super()._parse_userauth_success(m)
        self._answer = Answer(accepted=True)

    def _parse_userauth_failure(self, m: paramiko.Message) -> None:
        methods = m.get_string().decode("utf-8", "replace")
        self._answer = Answer(methods=tuple(filter(None, methods.split(","))), partial=m.get_boolean())

    def _parse_userauth_banner(self, m: paramiko.Message) -> None:
        # The last of it is what matters: why an account is closed comes after what all are shown.
        self.shown = (self.shown + m.get_string() + b"\n")[-_BANNER:]

    def _parse_userauth_info_request(self, m: paramiko.Message) -> None:
        if self.auth_method != "keyboard-interactive":
            self._answer = Answer(more=True)
            return
        title, instruction, _ = (m.get_string().decode("utf-8", "replace") for _ in range(3))
        asked = []
        for _ in range(m.get_int()):
            prompt = m.get_string().decode("utf-8", "replace")
            asked.append(Question(prompt, m.get_boolean(), title, instruction))
        self._answer = Answer(more=True, questions=tuple(asked))

    def _parse_gssapi_token(self, m: paramiko.Message) -> None:
        self._answer = Answer(more=True, token=m.get_string())


def _with_string(kind: bytes, text: bytes) -> paramiko.Message:
    message = paramiko.Message()
    message.add_byte(kind)
    message.add_string(text)
    return message
