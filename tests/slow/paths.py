"""
The verdicts of C{shoutping} on a network with parallel paths, of which one is hurt::

    python -m tests.slow.paths [--runs 20] [--healthy 100] [CASE ...]

It needs root and Linux, and prints the number of right verdicts of each case.  What
each flow went through is counted by the routers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from tests.lab import SERVER, Lab, whyNot

_PORT = 7777

# A rate that needs no --flood.
_FLOWS = ("--flows", "32", "-c", "640", "-i", "0.0011")

# Enough datagrams to find 10 % loss nearly always.
_MANY = ("--flows", "32", "-c", "3200", "-i", "0.0011")


class Case(NamedTuple):
    """
    A way to hurt a path, and the verdict on it.

    @ivar hurt: Called with the lab.

    @ivar options: The options of C{shoutping}.

    @ivar check: Called with the results and the source ports of the hurt path; returns
        C{True} if the verdict is right.

    @ivar way: The way on which the path is hurt.
    """

    hurt: Callable[[Lab], object]
    options: Sequence[str]
    check: Callable[[dict[str, Any], set[int]], bool]
    way: Any = "there"


def _hasGroup(name: str) -> Callable[[dict[str, Any], set[int]], bool]:
    """
    Return a check that exactly the hurt flows are in a group of the verdict, and none
    in another.
    """

    def check(result: dict[str, Any], hurt: set[int]) -> bool:
        verdict = result["verdict"]
        groups = {key: set(verdict[key]) for key in ("dead", "lossy", "slow")}
        return groups.pop(name) == hurt and not any(groups.values())

    return check


def _isPart(result: dict[str, Any], hurt: set[int]) -> bool:
    """
    Check that flows with loss are found, and only hurt ones.  A few hurt flows may lose
    too little to be among them.
    """
    found = set(result["verdict"]["lossy"])
    verdict = result["verdict"]
    isRight = bool(found) and found <= hurt and 2 * len(found) > len(hurt)
    return isRight and not verdict["dead"] and not verdict["slow"]


def _isRefused(result: dict[str, Any], hurt: set[int]) -> bool:
    words = " ".join(result["verdict"]["words"])
    senders = {error["from"] for error in result["icmp_errors"]}
    isNamed = "administratively prohibited" in words and len(senders) == 1
    return _hasGroup("dead")(result, hurt) and isNamed


def _isTraced(result: dict[str, Any], hurt: set[int]) -> bool:
    words = " ".join(result["verdict"]["words"])
    routers = {"10.77.11.2", "2001:db8:77:11::2"}
    isNamed = any(f"go through {router}, and no other" in words for router in routers)
    seen = {hop["address"] for flow in result["flows"] for hop in flow["hops"][1:2]}
    return _hasGroup("dead")(result, hurt) and isNamed and len(seen) == 4


def _isWayBack(result: dict[str, Any], hurt: set[int]) -> bool:
    words = " ".join(result["verdict"]["words"])
    return _hasGroup("dead")(result, hurt) and "the way back is" in words


def _isBleached(result: dict[str, Any], hurt: set[int]) -> bool:
    changed = {f["source_port"] for f in result["flows"] if f["tos"]["received"] == 0}
    return changed == hurt and result["verdict"]["kind"] == "alike"


def _isNarrow(result: dict[str, Any], hurt: set[int]) -> bool:
    narrow = {f["source_port"] for f in result["flows"] if f["path_mtu"] == 1400}
    others = {f["path_mtu"] for f in result["flows"]} - {1400}
    return narrow == hurt and others == {1500}


def _isHealthy(result: dict[str, Any], hurt: set[int]) -> bool:
    return bool(result["verdict"]["kind"] == "alike")


CASES = {
    "dead": Case(lambda lab: lab.kill(1), _FLOWS, _hasGroup("dead")),
    "traced": Case(lambda lab: lab.kill(1), (*_FLOWS, "--trace"), _isTraced),
    "way-back": Case(
        lambda lab: lab.kill(1, "back"), (*_FLOWS, "--trace"), _isWayBack, "back"
    ),
    "loss": Case(lambda lab: lab.lose(1, 10), _MANY, _isPart),
    "slow": Case(lambda lab: lab.delay(1, 0.005), _FLOWS, _hasGroup("slow")),
    "refused": Case(lambda lab: lab.refuse(1), _FLOWS, _isRefused),
    "dscp": Case(lambda lab: lab.bleach(1), (*_FLOWS, "-Q", "EF"), _isBleached),
    "mtu": Case(
        lambda lab: lab.narrow(1, 1400),
        ("--flows", "32", "--mtu", "-t", "0.2"),
        _isNarrow,
    ),
    "healthy": Case(lambda lab: None, _FLOWS, _isHealthy),
}


class _Stack(ExitStack):
    addCleanup = ExitStack.callback


def _run(lab: Lab, case: Case, address: str) -> str:
    """
    Measure once, and return what is wrong with the verdict; nothing if it is right.
    """
    lab.forgetPorts()
    target = f"[{address}]:{_PORT}" if ":" in address else f"{address}:{_PORT}"
    command = ("from shout.__main__ import ping; import sys; sys.exit(ping())",)
    with lab.on("a"):
        process = subprocess.run(
            [sys.executable, "-c", *command, target, "--json", *case.options],
            stdout=subprocess.PIPE,
            check=False,
        )
    result = json.loads(process.stdout)
    ports = {flow["source_port"] for flow in result["flows"]}
    hurt = lab.ports(case.way)[1] & ports
    if not 0 < len(hurt) < len(ports):
        return f"{len(hurt)} flows were hurt, so there was nothing to compare"
    if case.check(result, hurt):
        return ""
    return " ".join(result.get("verdict", {}).get("words", ["wrong path MTU"]))


def main(arguments: Sequence[str]) -> int:
    """
    Run the cases, and return 1 if a verdict was wrong.
    """
    parser = ArgumentParser("python -m tests.slow.paths")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--healthy", type=int, default=100)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    options = parser.parse_args(arguments)
    if whyNot:
        sys.exit(whyNot)
    isWrong = False
    with _Stack() as stack:
        lab = Lab(stack)
        with lab.on("d"):
            server = subprocess.Popen(
                ["twistd", "-n", "--pidfile=", "shout", "-p", f"{_PORT}", "--copy-tos"],
                stdout=subprocess.PIPE,
                text=True,
            )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        assert server.stdout is not None
        for line in server.stdout:
            if "try it with" in line:
                break
        for name in options.cases or CASES:
            for address in SERVER:
                family = "IPv6" if ":" in address else "IPv4"
                case = CASES[name]
                case.hurt(lab)
                runs = options.healthy if name == "healthy" else options.runs
                faults = [_run(lab, case, address) for _ in range(runs)]
                lab.heal()
                wrong = [fault for fault in faults if fault]
                isWrong |= bool(wrong)
                print(f"{name:9} {family}: {runs - len(wrong)} of {runs} right")
                for fault in wrong:
                    print(f"    {fault}", flush=True)
    return int(isWrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
