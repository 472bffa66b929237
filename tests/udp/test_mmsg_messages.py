"""
Tests for what C{shout.udp._mmsg} does with any control messages.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import struct
import subprocess
import sysconfig
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import skipUnless

from hypothesis import example, given
from hypothesis.strategies import (
    DrawFn,
    binary,
    composite,
    integers,
    just,
    lists,
    one_of,
    sampled_from,
)
from twisted.trial.unittest import SynchronousTestCase

from shout.udp.peer import SOCKADDR_SIZE, packMessage, unpackMessages
from tests.batches import needsBatches
from tests.properties import untimed

SOURCE = Path(__file__).with_name("anymessages.c")

# Bytes for the control messages of a datagram.
CONTROL_SIZE = 224

GRO = socket.IPPROTO_UDP, 104
TIMESTAMP, TIMESTAMPING = (socket.SOL_SOCKET, 35), (socket.SOL_SOCKET, 37)
OTHERS = (socket.IPPROTO_IP, 8), (socket.IPPROTO_IPV6, 50), (socket.IPPROTO_IP, 1)

CC = shutil.which(os.environ.get("CC", "cc"))


@cache
def load() -> Any:
    """
    Build C{anymessages.c}, and return its class C{BatchIO}.
    """
    flags = ["-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    flags += shlex.split(os.environ.get("CFLAGS", ""))
    with TemporaryDirectory() as directory:
        target = os.path.join(directory, "_mmsg.so")
        subprocess.run([str(CC), *flags, str(SOURCE), "-o", target], check=True)
        spec = spec_from_file_location("_mmsg", target)
        assert spec is not None and spec.loader is not None
        module: Any = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module.BatchIO


class Arrival(NamedTuple):
    """
    What the extension makes of a message.
    """

    rawAddress: bytes
    lengths: list[int]
    time: int


class Script(NamedTuple):
    """
    A message from the kernel.
    """

    length: int
    nameLength: int
    name: bytes
    control: bytes

    def packed(self) -> bytes:
        """
        Return it in the form that C{anymessages.c} reads.
        """
        numbers = struct.pack("III", self.length, self.nameLength, len(self.control))
        return numbers + self.name + self.control.ljust(CONTROL_SIZE, b"\0")

    def expected(self) -> Arrival:
        """
        Return what the extension makes of it.
        """
        rawAddress, segment, time = self.name, self.length, 0
        for kind, data in unpackMessages(self.control):
            if kind == GRO and len(data) >= 4:
                (size,) = struct.unpack_from("i", data)
                segment = size if 0 < size < self.length else segment
            elif kind == TIMESTAMP and len(data) >= 16:
                seconds, nanoseconds = struct.unpack_from("qq", data)
                # It is a number of 64 bits.
                time = seconds * 1_000_000_000 + nanoseconds + (1 << 63)
                time = time % (1 << 64) - (1 << 63)
            elif kind != TIMESTAMPING:
                rawAddress += packMessage(*kind, data)
        starts = range(0, self.length, segment) if segment else [0]
        lengths = [min(segment, self.length - start) for start in starts]
        return Arrival(rawAddress, lengths, time)


@composite
def messages(draw: DrawFn) -> bytes:
    """
    Draw a control message; its length can be wrong.
    """
    kind = draw(sampled_from([GRO, TIMESTAMP, TIMESTAMPING, *OTHERS]))
    data = draw(binary(max_size=40))
    if kind == GRO:
        data = draw(integers(-5, 3000).map(_int) | binary(max_size=40))
    whole = packMessage(*kind, data)
    wrong = integers(-40, 300) | integers(0, 1 << 64)
    length = draw(one_of(just(None), just(None), wrong))
    if length is None:
        return whole
    return (length % (1 << 64)).to_bytes(8, "little") + whole[8:]


def _int(number: int) -> bytes:
    return struct.pack("i", number)


controls = lists(messages(), max_size=6).map(b"".join) | binary(max_size=CONTROL_SIZE)


@composite
def scripts(draw: DrawFn) -> Script:
    """
    Draw a message from the kernel, whose last control message can be cut.
    """
    name = draw(binary(min_size=SOCKADDR_SIZE, max_size=SOCKADDR_SIZE))
    control = draw(controls)[:CONTROL_SIZE]
    end = draw(just(len(control)) | integers(0, len(control)))
    length = draw(integers(0, 3000) | integers(0, 65535))
    return Script(length, draw(integers(0, 1 << 31)), name, control[:end])


@needsBatches
@skipUnless(CC, "there is no C compiler")
class MessagesTests(SynchronousTestCase):
    """
    Tests for C{receive} and C{receiveTimed} with a kernel that returns any messages.
    """

    def setUp(self) -> None:
        self.kernel, sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.kernel.close)
        self.addCleanup(sock.close)
        # A raw address is its own peer.
        self.io = load()(sock.fileno(), bytes)

    def send(self, drawn: list[Script]) -> list[Arrival]:
        """
        Let the kernel receive messages, and return what the extension makes of them.
        """
        for each in drawn:
            self.kernel.send(each.packed())
        return [each.expected() for each in drawn]

    @untimed
    @given(lists(scripts(), min_size=1, max_size=5))
    @example([Script(2, 0, bytes(SOCKADDR_SIZE), 2 * packMessage(*GRO, _int(1)))])
    def test_receive(self, drawn: list[Script]) -> None:
        """
        Coalesced datagrams are split.  Control messages that differ from datagram to
        datagram are not part of the raw address; the others are, up to one whose length
        is wrong.
        """
        arrivals = self.send(drawn)
        datagrams, peers = self.io.receive(64)
        self.assertEqual(
            list(zip(map(len, datagrams), peers)),
            [(size, each.rawAddress) for each in arrivals for size in each.lengths],
        )

    @untimed
    @given(lists(scripts(), min_size=1, max_size=5))
    def test_receiveTimed(self, drawn: list[Script]) -> None:
        """
        Each datagram has the time and the raw address of its message.
        """
        arrivals = self.send(drawn)
        datagrams, *others = self.io.receiveTimed(64)
        self.assertEqual(
            list(zip(map(len, datagrams), *others)),
            [
                (size, each.time, each.rawAddress)
                for each in arrivals
                for size in each.lengths
            ],
        )
