"""
The batched port, which receives and sends many datagrams per system call.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from errno import EINVAL, EIO, EMSGSIZE
from os import environ
from typing import Any

from .peer import decodeRaw
from .port import SLOTS, DatagramPort
from .sockopt import allowForeignSource, enablePacketInfo

if environ.get("SHOUT_PURE_PYTHON"):
    BatchIO: Any = None
else:
    try:
        from ._mmsg import BatchIO
    except ImportError:
        BatchIO = None

available = BatchIO is not None
"""
C{True} if the C extension is built, and C{SHOUT_PURE_PYTHON} is not set in the
environment, or empty.
"""

# From linux/udp.h.
_UDP_GRO = 104

# Errors of paths that do not support segments, or not of that length.
_CANNOT_SEGMENT = (EINVAL, EIO, EMSGSIZE)


class BatchedPort(DatagramPort):
    """
    A UDP port that receives and sends many datagrams per system call.  It needs the C
    extension; L{listen<shout.udp.listening.listen>} does without where it is missing.

    Datagrams that the protocol writes while it receives a batch are sent in order,
    after the batch, or before the next datagram if a millisecond has passed.  All
    others are sent at once.
    """

    kind = "batched"
    _firstLimit = SLOTS
    # A coalesced burst of up to 128 datagrams occupies a kibibyte.
    _leastMemory = 8
    _canHold = True

    def _openIO(self, sock: socket.socket) -> Any:
        if not available:
            raise RuntimeError(
                "BatchedPort needs the C extension; use shout.udp.listen"
            )
        enablePacketInfo(sock)
        # Bursts of one peer arrive in one piece; see udp(7).  It needs Linux 5.0.
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        allowForeignSource(sock)
        return BatchIO(sock.fileno(), lambda raw: self._adopt(decodeRaw(raw)))

    def _hasMore(self) -> bool:
        # To receive takes as long as to ask.
        return True

    def _sendAlone(
        self, datagrams: Sequence[Any], peers: list[Any], index: int, error: OSError
    ) -> bool:
        # Some paths reject UDP_SEGMENT.  If the datagram can be sent alone, such a
        # length is not tried again with that peer.
        peer = peers[index]
        if error.errno not in _CANNOT_SEGMENT or peers[index + 1 : index + 2] != [peer]:
            return False
        try:
            self._io.send(datagrams[index : index + 1], [peer], 0)
        except OSError:
            return False
        peer.maxSegment = 0 if error.errno == EIO else len(datagrams[index]) - 1
        return True
