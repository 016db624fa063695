"""The fuzz suite: hostile and broken input of every kind, and what must hold whatever comes.

    python -m pytest tests/fuzz                                   a minute of each, as CI runs it
    python tests/fuzz/run.py --minutes 60                         all fuzzers in turn, and the faults
    python tests/fuzz/run.py --minutes 10 --only tar,ssh --seed 1000
    python tests/fuzz/run.py --only tar --seed 1234 --cases 1     one case again
    python tests/fuzz/run.py --only faults --host-runs 5000       through the fault proxy
    python tests/fuzz/hostile.py --hostile 100 --good 200         the hostile fleet, and what it costs

Each case makes its choices by its seed; one that fails is told with the command that repeats it. Cases run in
a child process that is killed where a case takes too long, and may map a few gigabytes at most.

    harness.py       runs cases in a child process; what cases look at
    tar_streams.py   what hosts send in a pull, several pulls into one destination
    ssh_messages.py  an SSH server that says anything, at every stage before and after login
    sftp_answers.py  an SFTP server that says anything, in pushes and pulls
    texts.py         known_hosts, ssh_config, host lists, the record of runs
    config_oracle.py ssh_config beside `ssh -G`
    peer.py          the SSH server behind these: it does what is told, right or wrong
    fault_proxy.py   cuts, resets, stalls and flips in front of a real sshd, and host-runs through it
    hostile.py       hosts that do harm in every known way, among good ones
"""

import argparse
import random
import sys
import time
from collections import defaultdict

import fault_proxy
import harness


def main() -> int:
    parser = argparse.ArgumentParser(
        formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="for all together (5)")
    parser.add_argument("--only", default="", help=f"of {', '.join(harness.FUZZERS)}")
    parser.add_argument("--seed", type=int, help="the first seed (by chance)")
    parser.add_argument("--cases", type=int, help="how many cases of each, in place of minutes")
    parser.add_argument("--host-runs", type=int, help="how many host-runs through the fault proxy")
    given = parser.parse_args()
    names = [name for name in given.only.split(",") if name] or list(harness.FUZZERS)
    unknown = set(names) - harness.FUZZERS.keys()
    if unknown:
        parser.error(f"no such fuzzers: {', '.join(sorted(unknown))}")
    seed = random.randrange(2**23) if given.seed is None else given.seed
    share = given.minutes * 60 / len(names)
    findings: list[harness.Finding] = []
    for name in names:
        began = time.monotonic()
        cases = given.cases
        if name == "faults" and given.host_runs:
            cases = -(-given.host_runs // fault_proxy.HOSTS)
        hunt = harness.hunt(name, seed, cases, None if cases else share, _tell_at_once)
        findings += hunt.findings
        took = time.monotonic() - began
        print(
            f"{name}: {hunt.done} cases from seed {seed} in {took:.0f} s, {len(hunt.findings)} failed",
            flush=True,
        )
        _tell(hunt.findings)
    return 1 if findings else 0


def _tell_at_once(finding: harness.Finding) -> None:
    print(
        f"{finding.fuzzer} {finding.seed}: {finding.what.splitlines()[0]:.150}", file=sys.stderr, flush=True
    )


def _tell(findings: list[harness.Finding], shown: int = 3) -> None:
    """Some findings of each kind in full, and the seeds of the others."""
    kinds: dict[str, list[harness.Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for found in sorted(kinds.values(), key=len, reverse=True):
        print(f"  {len(found)} times, {found[0]}")
        if found[1:]:
            print(f"    also: {' '.join(str(finding.seed) for finding in found[1:20])}")


if __name__ == "__main__":
    sys.exit(main())
