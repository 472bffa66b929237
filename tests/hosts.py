"""
Two hosts on this machine, joined by a network of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CDLL

from twisted.trial.unittest import SynchronousTestCase

# From linux/sched.h.
_CLONE_NEWNET = 0x40000000

whyNot = (
    "network namespaces exist on Linux alone"
    if sys.platform != "linux"
    else "making network namespaces needs root"
    if os.geteuid() != 0
    else "ip is not installed (Debian: iproute2)"
    if shutil.which("ip") is None
    else ""
)
"""
Why there can be no such hosts here, or nothing.
"""


class Hosts:
    """
    Two network namespaces with a veth pair between them, for one test.

    The first host, C{a}, has the addresses 192.0.2.1, 192.0.2.3, 2001:db8::1 and
    fe80::1 on the interface C{va}; the second, C{b}, has 192.0.2.2, 2001:db8::2
    and fe80::2 on C{vb}.
    """

    def __init__(self, case: SynchronousTestCase, mtu: int = 1500) -> None:
        """
        @param case: the test; when it ends the hosts are removed.

        @param mtu: of the network between them, in bytes.
        """
        self._names = {host: f"shout-test-{os.getpid()}-{host}" for host in "ab"}
        for name in self._names.values():
            _ip(f"netns add {name}")
            case.addCleanup(_ip, f"netns delete {name}")
        a, b = self._names["a"], self._names["b"]
        _ip(f"link add va netns {a} type veth peer name vb netns {b}")
        for host, numbers in (("a", "13"), ("b", "2")):
            prefix, device = f"-n {self._names[host]}", f"v{host}"
            _ip(f"{prefix} link set lo up")
            _ip(f"{prefix} link set {device} mtu {mtu} up")
            for number in numbers:
                _ip(f"{prefix} address add 192.0.2.{number}/24 brd + dev {device}")
            for network in ("2001:db8::", "fe80::"):
                _ip(f"{prefix} address add {network}{numbers[0]}/64 dev {device} nodad")
            # Otherwise it comes some time after both ends are up.
            _ip(f"{prefix} -6 route add multicast ff00::/8 dev {device} table local")

    def ip(self, host: str, command: str) -> None:
        """
        Configure the network of a host; see ip(8).
        """
        _ip(f"-n {self._names[host]} {command}")

    @contextmanager
    def on(self, host: str) -> Iterator[None]:
        """
        Make what sockets are made meanwhile those of a host.
        """
        with (
            open("/proc/thread-self/ns/net") as here,
            open(f"/run/netns/{self._names[host]}") as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(here.fileno())


def _setns(fd: int) -> None:
    if CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
        raise OSError("setns failed")


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)
