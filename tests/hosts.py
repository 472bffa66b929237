"""
Hosts on this machine, joined by networks of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import CDLL
from typing import Any, Protocol

from tests.families import hasIPv6Sockets

# From linux/sched.h.
_CLONE_NEWNET = 0x40000000

whyNot = (
    "network namespaces exist on Linux only"
    if sys.platform != "linux"
    else "making network namespaces needs root"
    if os.geteuid() != 0
    else "ip is not installed (Debian: iproute2)"
    if shutil.which("ip") is None
    else "the kernel has no IPv6"
    if not hasIPv6Sockets
    else ""
)
"""
The reason why there can be no such hosts here, or an empty string.
"""


class Cleanups(Protocol):
    """
    A test, or something else that ends and cleans up.
    """

    def addCleanup(self, f: Callable[..., object], /, *args: Any) -> object:
        """
        Call a function at the end, the last one first.
        """


class Namespaces:
    """
    Network namespaces for one test.
    """

    def __init__(self, case: Cleanups, hosts: str) -> None:
        """
        @param case: The test; when it ends the hosts are removed.

        @param hosts: The names of the hosts, a letter each.
        """
        self._names = {host: f"shout-test-{os.getpid()}-{host}" for host in hosts}
        for host, name in self._names.items():
            _ip(f"netns add {name}")
            case.addCleanup(_ip, f"netns delete {name}")
            self.ip(host, "link set lo up")

    def ip(self, host: str, command: str) -> None:
        """
        Configure the network of a host; see ip(8).
        """
        _ip(f"-n {self._names[host]} {command}")

    def set(self, host: str, name: str, value: int | str) -> None:
        """
        Set a parameter of the kernel for a host.

        @param name: The path of the parameter below C{/proc/sys/net}.
        """
        with self.on(host), open(f"/proc/sys/net/{name}", "w") as file:
            file.write(str(value))

    def switchIPv6(self, host: str, isOn: bool) -> None:
        """
        Switch IPv6 on or off at a host.
        """
        self.set(host, "ipv6/conf/all/disable_ipv6", int(not isOn))

    def _join(
        self,
        left: str,
        right: str,
        names: tuple[str, str] = ("right", "left"),
        mtu: int = 1500,
        networks: Sequence[str] = (),
    ) -> None:
        """
        Join two hosts by a network.

        @param names: The names of the interfaces of the left and of the right host.

        @param mtu: The MTU of the network, in bytes.

        @param networks: The prefixes of the addresses, besides fe80::; those of the
            left host end in 1, and those of the right one in 2.
        """
        there = f"peer name {names[1]} netns {self._names[right]}"
        self.ip(left, f"link add {names[0]} type veth {there}")
        for host, device, end in ((left, names[0], 1), (right, names[1], 2)):
            self.ip(host, f"link set {device} mtu {mtu} up")
            for network in (*networks, "fe80::"):
                length, options = (64, "nodad") if ":" in network else (24, "")
                address = f"{network}{end}/{length} dev {device} {options}"
                self.ip(host, f"address add {address}")
            self._multicast(host, device)

    def _multicast(self, host: str, device: str) -> None:
        # Otherwise the kernel adds it some time after both ends are up.
        route = f"multicast ff00::/8 dev {device} table local"
        self.ip(host, f"-6 route append {route}")

    @contextmanager
    def on(self, host: str) -> Iterator[None]:
        """
        Create all sockets of the context in the network of a host.
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


class Path(Namespaces):
    """
    Two hosts with routers between them, for tests of the path MTU.

    The first host, C{a}, has the address 2001:db8::1, and each of the others
    2001:db8:N::2 in the network before it, which is 0 for the second.
    """

    def __init__(self, case: Cleanups, *mtus: int) -> None:
        """
        @param case: The test; when it ends the hosts are removed.

        @param mtus: The MTU of each network on the path, in bytes.
        """
        hosts = "abcdefgh"[: len(mtus) + 1]
        super().__init__(case, hosts)
        for number, mtu in enumerate(mtus):
            left, right = hosts[number], hosts[number + 1]
            self._join(left, right, mtu=mtu, networks=[f"2001:db8:{number}::"])
            # Networks that are not next to a host are to its left or to its right.
            self.ip(right, f"-6 route add default via 2001:db8:{number}::1")
            for beyond in range(number + 1, len(mtus)):
                way = f"2001:db8:{beyond}::/64 via 2001:db8:{number}::2"
                self.ip(left, f"-6 route add {way}")
        for host in hosts[1:-1]:
            self.set(host, "ipv6/conf/all/forwarding", 1)


class ParallelPaths(Namespaces):
    """
    Two hosts with two routers between them, and equal paths from one router to the
    other; each flow takes one path there and one back.

    The first host, C{a}, has the addresses 192.0.2.1 and 2001:db8::1, and the last,
    C{d}, 198.51.100.2 and 2001:db8:1::2.  At both routers, C{b} and C{c}, path N is
    the interface C{pN}, counted from 0: break, slow or narrow it there.

    The routers send no ICMP errors.  They choose a path by a hash of the addresses and
    the ports, unless a datagram has the hash of its socket: Linux draws one for each
    socket that connects, and a veth pair keeps it.  So all datagrams of a connected
    socket take one path, also in fragments.  Those of another socket with the same
    source port may take another.
    """

    def __init__(self, case: Cleanups, *mtus: int) -> None:
        """
        @param case: The test; when it ends the hosts are removed.

        @param mtus: The MTU of each path, in bytes.
        """
        super().__init__(case, "abcd")
        self._join("a", "b", networks=("192.0.2.", "2001:db8::"))
        self._join("c", "d", networks=("198.51.100.", "2001:db8:1::"))
        for number, mtu in enumerate(mtus):
            self._join("b", "c", (f"p{number}",) * 2, mtu)
        for host, router in (("a", "192.0.2.2"), ("d", "198.51.100.1")):
            self.ip(host, f"-4 route add default via {router}")
        for host, router in (("a", "2001:db8::2"), ("d", "2001:db8:1::1")):
            self.ip(host, f"-6 route add default via {router}")
        for host, other in (("b", "fe80::2"), ("c", "fe80::1")):
            paths = range(len(mtus))
            hops = " ".join(f"nexthop via inet6 {other} dev p{n}" for n in paths)
            for family, protocol in (("4", "icmp"), ("6", "ipv6-icmp")):
                self.ip(host, f"-{family} route add default {hops}")
                # To the rules, a host's own packets come from its loopback.
                silence = f"iif lo ipproto {protocol} blackhole"
                self.ip(host, f"-{family} rule add {silence}")
                self.set(host, f"ipv{family}/fib_multipath_hash_policy", 1)
            self.set(host, "ipv4/ip_forward", 1)
            self.set(host, "ipv6/conf/all/forwarding", 1)


class Hosts(Namespaces):
    """
    Two network namespaces with a veth pair between them, for one test.

    The first host, C{a}, has the addresses 192.0.2.1, 192.0.2.3, 2001:db8::1 and
    fe80::1 on the interface C{va}; the second, C{b}, has 192.0.2.2, 2001:db8::2
    and fe80::2 on C{vb}.
    """

    def __init__(self, case: Cleanups, mtu: int = 1500) -> None:
        """
        @param case: The test; when it ends the hosts are removed.

        @param mtu: The MTU of the network between them, in bytes.
        """
        super().__init__(case, "ab")
        a, b = self._names["a"], self._names["b"]
        _ip(f"link add va netns {a} type veth peer name vb netns {b}")
        for host, numbers in (("a", "13"), ("b", "2")):
            prefix, device = f"-n {self._names[host]}", f"v{host}"
            _ip(f"{prefix} link set {device} mtu {mtu} up")
            for number in numbers:
                _ip(f"{prefix} address add 192.0.2.{number}/24 brd + dev {device}")
            for network in ("2001:db8::", "fe80::"):
                _ip(f"{prefix} address add {network}{numbers[0]}/64 dev {device} nodad")
            self._multicast(host, device)


def _setns(fd: int) -> None:
    if CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
        raise OSError("setns failed")


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)
