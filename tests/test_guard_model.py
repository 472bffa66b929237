"""
Tests for L{shout.guard} against a model of its rules.
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import Any

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from hypothesis.strategies import binary, integers, one_of, sampled_from, tuples
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from shout.guard import Guard, LoopGuard
from shout.protocol import Shout
from tests.properties import untimed


class GuardMachine(RuleBasedStateMachine):
    """
    Compares a L{Shout} with its default guard to a plain model of the rules, for any
    datagrams, peers and times.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        guard = Guard(loops=LoopGuard(self.clock.seconds))
        self.protocol = Shout(guard, self.clock.seconds)
        self.tokens: dict[Any, float] = {}
        self.refilled: dict[Any, float] = {}
        self.taken: dict[Any, int] = {}

    @rule(tenths=integers(0, 500))
    def wait(self, tenths: int) -> None:
        """
        Advance the clock.
        """
        self.clock.advance(tenths / 10)

    @rule(
        datagram=one_of(sampled_from([b"HELLO", b"hello", b""]), binary(max_size=5)),
        addr=tuples(
            sampled_from(["192.0.2.1", "224.0.0.1", "2001:db8::1", "::"]),
            sampled_from([0, 7, 1023, 1024, 1900, 40000]),
        ),
        count=integers(1, 150),
    )
    def send(self, datagram: bytes, addr: Any, count: int) -> None:
        """
        Send the same datagram several times.
        """
        replies = self.protocol.answer([datagram] * count, [addr] * count)
        for reply in replies:
            assert reply == (datagram.upper() if self.expects(datagram, addr) else None)

    def expects(self, datagram: bytes, addr: Any) -> bool:
        """
        Return C{True} if the model answers a datagram.
        """
        host, port = addr
        ip = ip_address(host)
        if port < 1024 or port == 1900 or ip.is_multicast or ip.is_unspecified:
            return False
        if datagram.upper() != datagram:
            return True
        now = self.clock.seconds()
        tokens = self.tokens.get(addr, 100) + now - self.refilled.get(addr, now)
        self.refilled[addr] = now
        self.tokens[addr] = min(100, tokens)
        if self.tokens[addr] < 1 - 1e-2:
            return False
        self.tokens[addr] -= 1
        self.taken[addr] = self.taken.get(addr, 0) + 1
        return self.taken[addr] % 128 != 0


class GuardModelTests(SynchronousTestCase):
    """
    Tests for the guard against a model.
    """

    def test_model(self) -> None:
        """
        The guard and the model answer the same datagrams.

        C{SHOUT_EXAMPLES} is the number of sequences that are tried.
        """
        examples = int(os.environ.get("SHOUT_EXAMPLES", 15))
        run_state_machine_as_test(
            GuardMachine, settings=settings(untimed, max_examples=examples)
        )
