"""
Tests for L{shout.sockets.resolve}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IHostnameResolver,
    IResolutionReceiver,
)
from twisted.names.dns import CNAME, PTR, Record_CNAME, Record_PTR, RRHeader
from twisted.names.error import DomainError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout.sockets.resolve import ResolutionError, _Receiver, nameOf, resolve
from tests.sockets.fakes import ADDRESSES, ResolverReactor


class ResolveTests(SynchronousTestCase):
    """
    Tests for L{resolve}.
    """

    def setUp(self) -> None:
        self.reactor = ResolverReactor()
        verifyObject(IHostnameResolver, self.reactor)

    def resolve(self, host: str, family: int = socket.AF_UNSPEC) -> Deferred[list[str]]:
        """
        Look up a host, and complete the look-up.
        """
        looking = Deferred.fromCoroutine(resolve(host, 9999, family, self.reactor))
        self.reactor.complete()
        return looking

    def test_name(self) -> None:
        """
        A name leads to all of its addresses in the order of the resolver, with their
        scopes.
        """
        self.assertEqual(
            self.successResultOf(self.resolve("example.com")),
            ["2001:db8::1", "192.0.2.1", "fe80::1%2"],
        )

    def test_family(self) -> None:
        """
        The result can be restricted to one address family.
        """
        self.assertEqual(
            self.successResultOf(self.resolve("example.com", socket.AF_INET)),
            ["192.0.2.1"],
        )
        self.assertEqual(
            self.successResultOf(self.resolve("example.com", socket.AF_INET6)),
            ["2001:db8::1", "fe80::1%2"],
        )

    def test_address(self) -> None:
        """
        An address is not looked up.
        """
        _, interface = socket.if_nameindex()[0]
        for host in ("192.0.2.1", "2001:db8::1", f"fe80::1%{interface}"):
            self.assertEqual(self.successResultOf(self.resolve(host)), [host])
        self.assertEqual(self.reactor.lookups, 0)

    def test_mapped(self) -> None:
        """
        An IPv4-mapped address is an IPv4 address and not an IPv6 address, also in the
        result for a name.
        """
        for host in ("::ffff:192.0.2.1", "::ffff:c000:201"):
            for family in (socket.AF_UNSPEC, socket.AF_INET):
                found = self.successResultOf(self.resolve(host, family))
                self.assertEqual(found, ["192.0.2.1"])
            error = self.failureResultOf(
                self.resolve(host, socket.AF_INET6), ResolutionError
            )
            self.assertEqual(str(error.value), f"no IPv6 address is known for {host!r}")
        mapped = IPv6Address("UDP", "::ffff:192.0.2.1", 9999)
        self.reactor.addresses = [mapped, *ADDRESSES]
        for family, found in (
            (socket.AF_UNSPEC, ["192.0.2.1", "2001:db8::1", "fe80::1%2"]),
            (socket.AF_INET, ["192.0.2.1"]),
            (socket.AF_INET6, ["2001:db8::1", "fe80::1%2"]),
        ):
            looking = self.resolve("example.com", family)
            self.assertEqual(self.successResultOf(looking), found)

    def test_addressOfFamily(self) -> None:
        """
        An address of another family is an error.
        """
        error = self.failureResultOf(
            self.resolve("::1", socket.AF_INET), ResolutionError
        )
        self.assertEqual(str(error.value), "no IPv4 address is known for '::1'")
        error = self.failureResultOf(
            self.resolve("127.0.0.1", socket.AF_INET6), ResolutionError
        )
        self.assertEqual(str(error.value), "no IPv6 address is known for '127.0.0.1'")

    def test_unknown(self) -> None:
        """
        A name without addresses is an error.
        """
        error = self.failureResultOf(self.resolve("nowhere"), ResolutionError)
        self.assertEqual(str(error.value), "no address is known for 'nowhere'")

    def test_invalid(self) -> None:
        """
        An invalid name is an error, without a look-up.
        """
        for host in ("a..b", "a" * 64, "\udcff", "a\0b"):
            self.failureResultOf(self.resolve(host), ResolutionError)
        self.assertEqual(self.reactor.lookups, 0)

    def test_cancel(self) -> None:
        """
        Addresses that are found after cancellation are ignored.
        """
        looking: Any = Deferred.fromCoroutine(
            resolve("example.com", 9999, socket.AF_UNSPEC, self.reactor)
        )
        looking.cancel()
        self.failureResultOf(looking)
        self.reactor.complete()
        self.assertEqual(self.flushLoggedErrors(), [])


class ReceiverTests(SynchronousTestCase):
    """
    Tests for the receiver of addresses.
    """

    def test_interface(self) -> None:
        """
        It provides C{IResolutionReceiver}.
        """
        verifyObject(IResolutionReceiver, _Receiver())


class NameOfTests(SynchronousTestCase):
    """
    Tests for L{nameOf}.
    """

    def name(self, address: str, answer: Any) -> str | None:
        """
        Look up an address, with the answer of a server or its failure.
        """

        def lookupPointer(pointer: str, timeout: object) -> Any:
            self.asked = pointer
            return answer

        return self.successResultOf(
            Deferred.fromCoroutine(nameOf(address, lookupPointer))
        )

    def test_found(self) -> None:
        """
        The name is that of the first pointer record.
        """
        records = [
            RRHeader(payload=Record_CNAME("alias.example"), type=CNAME),
            RRHeader(payload=Record_PTR("router.example"), type=PTR),
        ]
        answer: Any = (records, [], [])
        self.assertEqual(self.name("192.0.2.7", succeed(answer)), "router.example")
        self.assertEqual(self.asked, "7.2.0.192.in-addr.arpa")
        self.assertEqual(self.name("fe80::1%eth0", succeed(([], [], []))), None)
        self.assertTrue(self.asked.endswith(".8.e.f.ip6.arpa"))

    def test_failed(self) -> None:
        """
        There is no name if the look-up fails.
        """
        self.assertIsNone(self.name("192.0.2.7", fail(DomainError())))
