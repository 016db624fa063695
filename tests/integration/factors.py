"""A server that wants several factors, or answers to questions: which ones, the user's name says."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery, ServerInterface

PASSWORD, CODE = "a secret", "123456"
KEY, WORD, ASKED = "publickey", "password", "keyboard-interactive"
#: The methods that each user needs, in order, and the rounds of questions with the answers.
_FIRST, _CODE = [("Password: ", False, PASSWORD)], [("Verification code: ", True, CODE)]
USERS: dict[str, tuple[list[str], list[list[tuple[str, bool, str]]]]] = {
    "key-code": ([KEY, ASKED], [_CODE]),
    "word-code": ([WORD, ASKED], [_CODE]),
    "asked": ([ASKED], [_FIRST, _CODE]),
    "at-once": ([ASKED], [[*_FIRST, *_CODE]]),
    "code": ([ASKED], [_CODE]),
    "quiet-code": ([ASKED], [[("One-time code: ", False, CODE)]]),
    "word": ([WORD], []),
    "word-asked": ([ASKED], [_FIRST]),
    "key-word": ([KEY, WORD], []),
    "empty": ([ASKED], [[], _FIRST, []]),
    "none": ([], []),
    "closed": ([KEY], []),
    "evil": ([ASKED], [[("\x1b[2JType\r\nyour\x07 PIN: ", False, CODE)]]),
    "endless": ([ASKED], [[(f"Token {number}: ", False, CODE)] for number in range(1000)]),
}


class _Login(ServerInterface):
    def __init__(self, server: "FactorServer", transport: paramiko.Transport) -> None:
        self._server, self._transport, self._done, self._round = server, transport, 0, 0
        self.commanded = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        methods = USERS[username][0]
        return methods[self._done] if self._done < len(methods) else KEY

    def _passed(self, username: str, method: str, right: bool) -> int:
        methods = USERS[username][0]
        self._server.tried.append(f"{method} {'right' if right else 'wrong'}")
        if not right or methods[self._done : self._done + 1] != [method]:
            return AUTH_FAILED
        self._done += 1
        return AUTH_SUCCESSFUL if self._done == len(methods) else AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL if not USERS[username][0] else AUTH_FAILED

    def get_banner(self) -> tuple[str | None, str | None]:
        return self._server.banner, "en"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if username == "closed":
            self._transport.close()  # as sshd does if PAM has closed the account
        return self._passed(username, KEY, key.asbytes() == self._server.key)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._passed(username, WORD, password == PASSWORD)

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        self._user, self._round = username, 0
        return self._ask() if self.get_allowed_auths(username) == ASKED else AUTH_FAILED

    def _ask(self) -> InteractiveQuery:
        query = InteractiveQuery()
        for prompt, echo, _ in USERS[self._user][1][self._round]:
            query.add_prompt(prompt, echo)
        return query

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        rounds = USERS[self._user][1]
        if responses != [answer for _, _, answer in rounds[self._round]]:
            return self._passed(self._user, ASKED, False)
        self._round += 1
        return self._ask() if self._round < len(rounds) else self._passed(self._user, ASKED, True)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commanded.set()
        return True


class _Connection(socketserver.BaseRequestHandler):
    server: "FactorServer"

    def handle(self) -> None:
        transport = paramiko.Transport(self.request)
        transport.add_server_key(self.server.host_key)
        login = _Login(self.server, transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=login)
            channel = None
            while channel is None and transport.is_active():
                channel = transport.accept(0.1)  # it is not woken when the connection ends
            if channel is not None and login.commanded.wait(10):
                self.server.on_login(transport)
                channel.sendall(b"hi\n")
                channel.send_exit_status(0)
                channel.close()
                transport.join(20)
        transport.close()


class FactorServer(socketserver.ThreadingTCPServer):
    """Listens on a port of 127.0.0.0/8; `key` is the one that it knows. `tried` is what it was sent."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100

    def __init__(self, key: bytes) -> None:
        super().__init__(("0.0.0.0", 0), _Connection)
        self.key, self.host_key = key, paramiko.ECDSAKey.generate()
        self.tried: list[str] = []
        self.banner: str | None = None
        self.port = self.server_address[1]

    def on_login(self, transport: paramiko.Transport) -> None:
        """Somebody is in, and has started a command."""

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client: object) -> None:
        """Clients that leave are what is tested."""


@contextlib.contextmanager
def serving(server: FactorServer) -> Iterator[FactorServer]:
    """A running server."""
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
