"""Settings: how hosts are reached and how an operation is run on them, as plain picklable data."""

from dataclasses import dataclass

#: How host keys are checked: `strict` accepts known keys only, `accept-new` also records new hosts,
#: `ignore` checks nothing.
HOST_KEY_MODES = ("strict", "accept-new", "ignore")
#: Where hosts are worked on.
ENGINES = ("auto", "threads", "processes", "dask")


@dataclass(frozen=True)
class Settings:
    """How hosts are reached and worked on. None means: as ssh_config says, else the field's default.

    Timeouts are seconds. `connect_timeout` bounds all tries to reach one host together and falls back to
    ConnectTimeout, then 10; `timeout` bounds each command from its start, None without a bound.
    `fanout` is how many hosts are worked on at once, `attempts` how often each is tried;
    `together` connects to all hosts before a command is started on any, and then starts it on all at once.
    `canary` hosts are worked on first, and the others only where all of those are ok; `batch` hosts then
    finish before the next ones begin; where more than `max_fail` hosts fail no more begin. `batch` and
    `max_fail` are numbers of hosts, or shares such as "10%".
    `engine` is where hosts are worked on: `threads` in this process, `processes` in `workers` of them on this
    machine (without: as many as it has processors), `dask` at `workers` (without: all) of the Dask cluster of
    a `scheduler`, an address or a scheduler file; `auto` takes threads or processes, by the number of hosts.
    The `tls_` files are the cluster's; without them the configuration of dask.distributed holds.
    `insecure_scheduler` allows connections to other machines that are not encrypted.
    `keep` leaves its connection open for the next operation.
    `identity` is a private key file, `jump` is `[user@]host[:port]`, several separated by commas.
    `limit_rate` is how many bytes a second are copied to or from a host, `limit_rate_all` all hosts together.
    `max_output` is how many bytes are kept of what each host writes; its command goes on where that is more.
    `password` is for sudo where `sudo` is set, else for logging in. `stdin` goes to every host.
    """

    user: str | None = None
    port: int | None = None
    identity: str | None = None
    jump: str | None = None
    host_keys: str | None = None
    connect_timeout: float | None = None
    timeout: float | None = None
    attempts: int = 3
    fanout: int = 512
    sequential: bool = False
    together: bool = False
    batch: int | str | None = None
    canary: int = 0
    max_fail: int | str | None = None
    engine: str = "threads"
    workers: int | None = None
    scheduler: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure_scheduler: bool = False
    keep: bool = True
    sudo: bool = False
    password: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    stdin: bytes | None = None
    limit_rate: float | None = None
    limit_rate_all: float | None = None
    max_output: int = 1_000_000_000

    def __repr__(self) -> str:
        shown = {
            name: value
            for name, value in vars(self).items()
            if value is not None and name not in ("password", "env", "stdin")
        }
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
