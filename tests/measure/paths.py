"""
Searches for the path MTU between hosts that are network namespaces.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from shout.measure.mtu import MTUResult, findMTU
from shout.measure.search import SearchRunner
from shout.measure.target import Target
from shout.sockets.bind import bindUDP
from tests.hosts import Namespaces, whyNot
from tests.peers import PeerCase


class PathCase(PeerCase):
    """
    Searches for the largest datagrams from the host C{a} to another one.
    """

    if whyNot:
        skip = whyNot

    def serveOn(self, hosts: Namespaces, host: str, address: str) -> Target:
        """
        Start a server on a host.
        """
        with hosts.on(host):
            sockets = bindUDP(22950, [address])
        self.serve(*sockets)
        return Target(address, address, 22950)

    def search(self, hosts: Namespaces, target: Target) -> Deferred[MTUResult]:
        """
        Search with a socket of the host C{a}.
        """
        with hosts.on("a"):
            sock = target.open()
        self.addCleanup(sock.close)
        runner = SearchRunner(target, self.reactor)
        return Deferred.fromCoroutine(findMTU(runner, sock, 0.5, lambda *step: None))

    def find(self, hosts: Namespaces, host: str, address: str) -> Deferred[MTUResult]:
        """
        Start a server on a host, and search.
        """
        return self.search(hosts, self.serveOn(hosts, host, address))
