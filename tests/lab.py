"""
A network with parallel paths, which tests can break.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable
from fcntl import ioctl
from functools import partial
from select import select
from threading import Thread
from typing import Literal

from tests import hosts
from tests.hosts import Cleanups, Namespaces

PATHS = range(4)
"""
The numbers of the paths.
"""

SERVER = ("10.77.99.2", "2001:db8:77:99::2")
"""
The addresses of the server's host.
"""

Way = Literal["there", "back", "both"]
"""
From the client to the server, from the server to the client, or both.
"""

whyNot = hosts.whyNot or (
    "nft is not installed (Debian: nftables)" if shutil.which("nft") is None else ""
)
"""
The reason why there can be no such network here, or an empty string.
"""

# From linux/if_tun.h.
_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000

# From Documentation/networking/ip-sysctl.rst, fib_multipath_hash_fields.
_ADDRESSES = 0x03
_FLOW_LABEL = 0x08
_PORTS = 0x30

# The formats of addresses, for a network and a host, and the lengths of prefixes.
_FAMILIES = (("10.77.{}.{}", 24), ("2001:db8:77:{}::{}", 64))

# Interfaces of routers by the way of the datagrams that they receive.
_RECEIVERS = {"there": "first", "back": "last"}

# The sets hold the client's ports that the router has seen.  Fragments go by the
# addresses alone, and only the first one has ports.
_RULES = """
table inet lab {
    set there { type inet_service; flags dynamic; size 65535; }
    set back { type inet_service; flags dynamic; size 65535; }
    chain ports {
        type filter hook prerouting priority raw;
        ip frag-off & 0x3fff != 0 accept
        exthdr frag exists accept
        iifname "first*" meta l4proto udp add @there { udp sport }
        iifname "last*" meta l4proto udp add @back { udp dport }
    }
    chain hurt { type filter hook forward priority filter; }
    chain silence { type filter hook output priority filter; }
}
"""


class Lab(Namespaces):
    """
    A client and a server's host with four equal paths between them.

    From the client C{a} all datagrams go to the first router, C{b}; by one of the
    routers C{0} to C{3} to the last router, C{c}; and to the server's host, C{d}.
    Router N has the address 10.77.1N.2 towards the client, and 10.77.2N.1 towards the
    server.  The first router has 10.77.0.2 towards the client; the last one 10.77.99.1
    towards the server and 10.77.2N.2 on path N.  With IPv6 these are 2001:db8:77:1N::2
    and so on.

    The first router chooses a path by the addresses, the ports and the flow label, and
    the last router by the ports alone.  So each source port without a flow label has
    one path there, and another one back, which are independent of each other; they
    change when the machine restarts.  Routers with C{fib_multipath_hash_policy} 1 would
    use the hash that Linux draws for each socket that connects, as veth pairs keep it.
    """

    def __init__(self, case: Cleanups, hasLimits: bool = True) -> None:
        """
        @param case: The test; when it ends the hosts are removed.

        @param hasLimits: C{True} if the hosts limit the rate of their ICMP errors, as
            Linux does by default.
        """
        super().__init__(case, "abcd0123")
        self._undo: list[Callable[[], object]] = []
        case.addCleanup(self.heal)
        self._join("a", "b", networks=_networks("0"))
        self._join("c", "d", networks=_networks("99"))
        for n in PATHS:
            self._join("b", f"{n}", (f"path{n}", "first"), networks=_networks(f"1{n}"))
            self._join(f"{n}", "c", ("last", f"path{n}"), networks=_networks(f"2{n}"))
        for address, length in _FAMILIES:
            self._route(address, length)
        for host in "bc0123":
            self.set(host, "ipv4/ip_forward", 1)
            self.set(host, "ipv6/conf/all/forwarding", 1)
        for host, fields in (("b", _ADDRESSES | _PORTS | _FLOW_LABEL), ("c", _PORTS)):
            for family in ("ipv4", "ipv6"):
                self.set(host, f"{family}/fib_multipath_hash_policy", 3)
                self.set(host, f"{family}/fib_multipath_hash_fields", fields)
        for n in PATHS:
            self._nft(n, _RULES)
        if not hasLimits:
            for host in "abcd0123":
                self.set(host, "ipv4/icmp_ratelimit", 0)
                self.set(host, "ipv6/icmp/ratelimit", 0)

    def _route(self, address: str, length: int) -> None:
        """
        Add the routes of an address family.

        @param address: The format of an address: a network, and a host.

        @param length: The length of the prefixes.
        """
        family = "-6" if ":" in address else "-4"
        client, server = (f"{address.format(n, 0)}/{length}" for n in (0, 99))
        for host, way, networks, end in (
            ("a", "default", ["0"], 2),
            ("b", server, [f"1{n}" for n in PATHS], 2),
            ("c", client, [f"2{n}" for n in PATHS], 1),
            ("d", "default", ["99"], 1),
            *((f"{n}", server, [f"2{n}"], 2) for n in PATHS),
            *((f"{n}", client, [f"1{n}"], 1) for n in PATHS),
        ):
            hops = " ".join(f"nexthop via {address.format(n, end)}" for n in networks)
            self.ip(host, f"{family} route add {way} {hops}")

    def ports(self, way: Way) -> list[set[int]]:
        """
        The source ports of the client that each path has seen, on one of the ways.
        Those of fragments do not count.
        """
        found = []
        for n in PATHS:
            listed = json.loads(self._nft(n, f"list set inet lab {way}", "--json"))
            (members,) = (o["set"] for o in listed["nftables"] if "set" in o)
            found.append(set(members.get("elem", ())))
        return found

    def forgetPorts(self) -> None:
        """
        Forget the source ports seen so far.
        """
        for n in PATHS:
            self._nft(n, "flush set inet lab there; flush set inet lab back")

    def kill(self, path: int, way: Way = "there") -> None:
        """
        Let a router drop what it would forward.  It still answers to small TTLs.
        """
        self._hurt(path, way, "drop")

    def lose(self, path: int, percent: int, way: Way = "there") -> None:
        """
        Let a router drop some of what it would forward, at random.
        """
        self._hurt(path, way, f"numgen random mod 100 < {percent} drop")

    def refuse(self, path: int, way: Way = "there") -> None:
        """
        Let a router refuse to forward datagrams: "administratively prohibited".
        """
        self._hurt(path, way, "meta l4proto udp reject with icmpx admin-prohibited")

    def bleach(self, path: int, way: Way = "there") -> None:
        """
        Let a router clear the DSCP of what it forwards.
        """
        for family in ("ip", "ip6"):
            self._hurt(path, way, f"{family} dscp set 0")

    def narrow(
        self, path: int, mtu: int, way: Way = "there", isSilent: bool = True
    ) -> None:
        """
        Give a path a smaller MTU behind its router.

        @param mtu: The MTU in bytes.

        @param isSilent: C{True} if the router drops its ICMP errors about the MTU.
        """
        for side, network, end in (("there", "99", 2), ("back", "0", 1)):
            if way not in (side, "both"):
                continue
            hop = f"{2 if side == 'there' else 1}{path}"
            for address, length in _FAMILIES:
                to = f"{address.format(network, 0)}/{length}"
                route = f"route replace {to} via {address.format(hop, end)}"
                self.ip(f"{path}", f"{route} mtu lock {mtu}")
                self._undo.append(partial(self.ip, f"{path}", route))
        if isSilent:
            for error in (
                "icmp type destination-unreachable icmp code frag-needed",
                "icmpv6 type packet-too-big",
            ):
                self._nft(path, f"add rule inet lab silence {error} drop")
            self._undo.append(partial(self._nft, path, "flush chain inet lab silence"))

    def delay(self, path: int, seconds: float, way: Way = "there") -> None:
        """
        Delay the datagrams that a router receives.
        """
        for side, device in _RECEIVERS.items():
            if way in (side, "both"):
                self._delay(path, device, seconds)

    def _delay(self, path: int, device: str, seconds: float) -> None:
        # Not every kernel has netem.  Datagrams for the interface go to a thread here,
        # and come back later by another interface with the same address.
        slow = f"{device}-slow"
        with self.on(f"{path}"):
            tap = os.open("/dev/net/tun", os.O_RDWR)
            name = struct.pack("16sH22x", slow.encode(), _IFF_TAP | _IFF_NO_PI)
            ioctl(tap, _TUNSETIFF, name)
        show = ["ip", "-json", "-netns", self._names[f"{path}"], "link", "show", device]
        (link,) = json.loads(subprocess.check_output(show))
        self.ip(f"{path}", f"link set {slow} address {link['address']} up")
        hook = f"type filter hook ingress device {device} priority filter"
        rule = f"meta l4proto udp fwd to {slow}"
        table = f"table netdev {slow}"
        self._nft(path, f"{table} {{ chain delay {{ {hook}; {rule}; }}; }}")
        stopped, stop = os.pipe()
        thread = Thread(target=_delayFrames, args=(tap, stopped, seconds))
        thread.start()

        def undo() -> None:
            self._nft(path, f"delete {table}")
            os.close(stop)
            thread.join()
            os.close(stopped)
            os.close(tap)

        self._undo.append(undo)

    def heal(self) -> None:
        """
        Repair all paths.
        """
        while self._undo:
            self._undo.pop()()

    def _hurt(self, path: int, way: Way, rule: str) -> None:
        """
        Add a rule for what a router forwards.
        """
        source = "" if way == "both" else f'iifname "{_RECEIVERS[way]}*"'
        self._nft(path, f"add rule inet lab hurt {source} {rule}")
        self._undo.append(lambda: self._nft(path, "flush chain inet lab hurt"))

    def _nft(self, path: int, commands: str, *options: str) -> str:
        """
        Change or list the rules of a router; see nft(8).
        """
        with self.on(f"{path}"):
            return subprocess.run(
                ["nft", *options, commands],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            ).stdout


def _delayFrames(tap: int, stopped: int, seconds: float) -> None:
    """
    Write each frame from a TAP device back to it later.

    @param stopped: The descriptor that is closed at the other end to end this.
    """
    waiting: deque[tuple[float, bytes]] = deque()
    ready: list[int] = []
    while stopped not in ready:
        if tap in ready:
            waiting.append((time.monotonic() + seconds, os.read(tap, 65535)))
        while waiting and waiting[0][0] <= time.monotonic():
            os.write(tap, waiting.popleft()[1])
        wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        ready = select([tap, stopped], [], [], wait)[0]


def _networks(number: str) -> list[str]:
    return [address.format(number, "") for address, _ in _FAMILIES]
