"""Authentication: the ways to log in, in the order in which ssh tries them, until one is accepted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy

from ..model import one_line
from ..steps import MAY_BLOCK, Steps, run_to_end
from . import gssapi
from .agent import AgentFailure
from .failures import Denied
from .gssapi import TicketFailure, Tickets
from .identities import Offer, Offers
from .paramiko_internals import Answer, LeanTransport, Question, UserAuth
from .prompts import asks_for_another, asks_for_password
from .questions import Questions

PUBLICKEY, PASSWORD, INTERACTIVE = "publickey", "password", "keyboard-interactive"
GSSAPI = gssapi.METHOD
#: ssh has them in another order; but a password is given here beforehand, and for the method of that name.
ORDER = (GSSAPI, PUBLICKEY, PASSWORD, INTERACTIVE)
ASKING_ORDER = (GSSAPI, PUBLICKEY, INTERACTIVE, PASSWORD)
#: How often a server may go on asking in one login, and how often it may accept and want more.
_ROUNDS, _PARTS = 16, 16
#: What a reason says if nothing was tried.
_NO_KEY = "no key to offer"
_KEYS_EXCLUDED = "PubkeyAuthentication or PreferredAuthentications excludes keys"
#: Characters of what a server says that a reason has.
_WORDS = 120


@dataclass(frozen=True)
class Methods:
    """How a user may log in, as ssh_config(5) has it: which methods in which order, and with what.

    `attempts` is NumberOfPasswordPrompts. `password` was asked for, or given by the program. Without
    `questions` nobody answers what the server asks. `batch` (BatchMode) allows neither.
    """

    offers: Offers
    order: tuple[str, ...] = ()
    password: str | None = None
    attempts: int = 3
    batch: bool = False
    devices: str = ""
    questions: Questions | None = None
    tickets: Tickets | None = None

    def __repr__(self) -> str:
        return f"Methods({', '.join(self.order)})"


class Authentication(AuthStrategy):
    """Logs in, and tells a refusal from a connection that was closed. For one login.

    `deadline` is in seconds on the monotonic clock; what somebody takes to answer does not count.

    Raises:
        Denied: the server accepts none of the ways, or has closed the connection and said why.
        ConnectionResetError: it closed the connection before it refused anything.
        NoAnswer: it did not answer in time.
    """

    def __init__(self, host: str, username: str, methods: Methods, deadline: float) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._host, self._username, self._methods, self._deadline = host, username, methods, deadline
        self._tries: dict[str, Callable[[UserAuth], Steps[Answer | None]]] = {
            GSSAPI: self._show_ticket,
            PUBLICKEY: self._offer_keys,
            PASSWORD: self._send_password,
            INTERACTIVE: self._answer_questions,
        }
        #: What was tried in vain, and what was not tried, for the reason.
        self._refused: list[str] = []
        self._notes = list(methods.offers.notes)
        #: Keys that need not be offered (again), and methods that have nothing more to try.
        self._offered: set[Offer] = set()
        self._accepted: set[Offer] = set()
        self._exhausted: set[str] = set()
        self._prompts = methods.attempts
        self._password = None if methods.batch else methods.password
        self._questions = None if methods.batch else methods.questions
        #: By which methods it was sent.
        self._sent: set[str] = set()
        self._answered: set[Question] = set()
        self._partial = False
        self._asked_for = ""
        self._waits_for_somebody = False
        #: Seconds for which somebody was waited for.
        self.waited = 0.0
        #: What is being tried.
        self._name = ""

    @property
    def has_password(self) -> bool:
        """Whether a password would be sent, or what somebody answers."""
        return self._password is not None or self._questions is not None

    def withhold_password(self, reason: str) -> None:
        """Send no password and no answer, for a reason that a refusal then names."""
        if self.has_password:
            self._password = self._questions = None
            self._notes.append(f"no password is sent: {reason}")

    def get_sources(self) -> Iterator[AuthSource]:
        """Not used: `authenticate` walks the methods itself, to see how each was refused."""
        return iter(())

    def authenticate(self, transport: LeanTransport) -> None:  # type: ignore[override]
        """Authenticate on `transport`, or raise."""
        run_to_end(self.steps(transport))

    def steps(self, transport: LeanTransport) -> Steps[None]:
        """Steps that authenticate on `transport`, or raise."""
        auth = UserAuth(transport, self._username, self._deadline)
        transport.auth_handler = auth
        try:
            accepted = yield from self._log_in(auth)
        except (EOFError, ConnectionError):
            words = transport.farewell or auth.shown
            if self._waits_for_somebody or not (self._refused or words):
                raise ConnectionResetError("closed during authentication") from None
            self._refused += [self._name] if self._name and not self._refused else []
            raise self._denied(auth, transport.farewell) from None
        if not accepted:
            raise self._denied(auth)

    def _denied(self, auth: UserAuth, farewell: bytes = b"") -> Denied:
        counts = dict.fromkeys(self._refused, 0)
        for each in self._refused:
            counts[each] += 1
        tried = [each if count == 1 else f"{each} ({count} times)" for each, count in counts.items()]
        said = _last_line(farewell) or _last_line(auth.shown)
        parts = [
            *([self._asked_for] if self._asked_for else []),
            ", ".join(tried) or (_NO_KEY if PUBLICKEY in self._methods.order else _KEYS_EXCLUDED),
            *([f"the server says: {said}"] if said else []),
            *self._notes,
        ]
        return Denied(f"authentication failed for {self._username}: {'; '.join(parts)}")

    # -- which way next

    def _log_in(self, auth: UserAuth) -> Steps[bool]:
        """Try one way after the other, as the server allows; whether one was accepted."""
        allowed: tuple[str, ...] | None = None
        asked = False
        if not self._is_key_first():
            answer = yield from auth.none()
            if answer.accepted:
                return True
            allowed, asked = answer.methods, True
        parts = 0
        while name := self._next_method(allowed):
            tried = yield from self._tries[name](auth)
            if tried is None:
                self._exhausted.add(name)
                continue
            if tried.accepted:
                return True
            allowed = tried.methods
            self._note_refusal(name, tried)
            if tried.partial:
                parts += 1
                if parts > _PARTS:
                    return False
        if asked or self._partial:
            return False
        # Some servers let in whoever asks for nothing, and refuse keys.
        return (yield from auth.none()).accepted

    def _is_key_first(self) -> bool:
        """Whether the first way is to offer a key, so that what the server allows need not be asked for."""
        tickets = self._methods.tickets
        order = [name for name in self._methods.order if name in self._tries]
        if tickets is None or tickets.missing:  # a server that offers the method is told about, that is all
            order = [name for name in order if name != GSSAPI]
        return order[:1] == [PUBLICKEY] and bool(self._methods.offers.keys)

    def _next_method(self, allowed: tuple[str, ...] | None) -> str | None:
        for name in self._methods.order:
            # A ticket is for servers that offer the method; a key is sent along with the first request.
            is_allowed = name != GSSAPI if allowed is None else name in allowed
            if name in self._tries and name not in self._exhausted and is_allowed:
                return name
        return None

    def _note_refusal(self, name: str, answer: Answer) -> None:
        wanted = ", ".join(answer.methods[:10])
        if answer.partial:
            self._partial = True
            self._refused.append(f"{self._name} alone (the server also wants {wanted})")
            # As ssh: what was refused before may be accepted now.
            self._offered = set(self._accepted)
            self._exhausted.clear()
            return
        if name == PASSWORD or (name == INTERACTIVE and PASSWORD in self._name):
            self._password = None  # not twice: many wrong ones close an account
        more = "" if name in answer.methods else f" (the server wants {wanted})"
        self._refused.append(f"{self._name}{more}")

    # -- the ways; None is that there is nothing (more) to try

    def _show_ticket(self, auth: UserAuth) -> Steps[Answer | None]:
        tickets = self._methods.tickets
        self._exhausted.add(GSSAPI)
        if tickets is None or tickets.missing:
            self._notes += [f"{GSSAPI}: {tickets.missing}"] if tickets else []
            return None
        self._name = GSSAPI
        try:
            return (yield from tickets.log_in(auth))
        except TicketFailure as error:
            self._notes.append(f"{GSSAPI}: {error}")
            return None

    def _offer_keys(self, auth: UserAuth) -> Steps[Answer | None]:
        for offer in self._methods.offers.keys:
            if offer in self._offered:
                continue
            self._offered.add(offer)
            answer = yield from self._offer(auth, offer)
            if answer is not None:
                if answer.partial:
                    self._accepted.add(offer)
                return answer
        return None

    def _offer(self, auth: UserAuth, offer: Offer) -> Steps[Answer | None]:
        """Offer a key; a None is that it cannot be used here."""
        self._name = offer.kind
        if offer.is_rsa and auth.server_algorithms() is None:
            yield from auth.begin()
        algorithm = offer.algorithm(self._methods.offers.algorithms, auth.server_algorithms())
        if algorithm is None:
            self._notes.append(f"{offer.kind}: the server accepts no signature that may be used here")
            return None
        if offer.asks:
            # Nobody is asked to confirm for a key that the server does not want.
            answer = yield from auth.query(algorithm, offer.key.blob)
            if not answer.more:
                return answer
            yield MAY_BLOCK
        began = time.monotonic()
        try:
            signature = offer.sign(auth.to_sign(algorithm, offer.key.blob), algorithm)
        except AgentFailure as error:
            self._notes.append(f"{offer.kind}: {error}")
            return None
        finally:
            if offer.asks:
                self._waited_since(began, auth)
        return (yield from auth.publickey(algorithm, offer.key.blob, signature))

    def _send_password(self, auth: UserAuth) -> Steps[Answer | None]:
        password = self._password
        if password is None or not self._methods.attempts or PASSWORD in self._sent:
            return None
        self._sent.add(PASSWORD)
        self._name = PASSWORD
        answer = yield from auth.send_password(password)
        if answer.more:
            self._notes.append("the password has expired: change it first")
            return None
        return answer

    def _answer_questions(self, auth: UserAuth) -> Steps[Answer | None]:
        """Answer what the server asks: with the password, or as somebody does."""
        if not self._prompts or not (self.has_password or self._partial):
            return None
        self._prompts -= 1
        self._name = INTERACTIVE
        answer = yield from auth.interactive(self._methods.devices)
        for _ in range(_ROUNDS):
            if not answer.more:
                return answer
            responses = []
            for question in answer.questions:
                response = yield from self._response(auth, question, len(answer.questions) == 1)
                if response is None:
                    return None
                responses.append(response)
            answer = yield from auth.respond(responses)
        self._notes.append("the server goes on asking")
        return None

    def _response(self, auth: UserAuth, question: Question, alone: bool) -> Steps[str | None]:
        if self._password is not None and _is_for_password(question, alone) and INTERACTIVE not in self._sent:
            self._sent.add(INTERACTIVE)
            self._name = f"{INTERACTIVE} with the password"
            return self._password
        prompt = one_line(question.prompt)
        questions = self._questions
        if questions is None:
            self._asked_for = f"the server asks {prompt!r}, see --ask-interactive"
            return None
        if question in self._answered:
            self._asked_for = f"the server refused the answer to {prompt!r}"
            return None
        self._answered.add(question)
        began = time.monotonic()
        self._waits_for_somebody = True
        try:
            response = yield from questions.answer(self._host, question, auth.pause)
        finally:
            self._waited_since(began, auth)
        self._waits_for_somebody = False
        if response is None:
            self._asked_for = f"nobody answered {prompt!r}"
        return response

    def _waited_since(self, began: float, auth: UserAuth) -> None:
        """Somebody was waited for, which is not the host's time."""
        self.waited += time.monotonic() - began
        auth.deadline = self._deadline + self.waited


def _is_for_password(question: Question, alone: bool) -> bool:
    """Whether a question is for the password of the account, and not for another secret."""
    if question.echo or asks_for_another(question.prompt):
        return False
    return alone or asks_for_password(question.prompt)


def _last_line(said: bytes) -> str:
    """The last line of what a server says, as part of a reason."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    return one_line(lines[-1][:_WORDS]) if lines else ""
