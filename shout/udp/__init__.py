"""
UDP ports for Twisted, which receive and send many datagrams per system call on Linux.

L{listen} runs any L{DatagramProtocol<twisted.internet.protocol.DatagramProtocol>} on a
socket that is already bound or connected::

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 9999))
    reactor.callWhenRunning(listen, sock, MyProtocol(), reactor)
    reactor.run()

A L{BatchedPort} needs Linux and the C extension; L{DatagramPort} is portable.  A
L{BatchResponder} is a protocol that answers a whole batch in one call, and a
L{TimedPort} measures round trips.

This package does not depend on the rest of shout: a copy of the directory works under
any name.  Therefore its modules import each other relatively.
"""

from .batched import BatchedPort
from .listening import listen, listenMulticast, listenUDP
from .port import DatagramPort
from .responder import BatchResponder
from .sockopt import copyTOS
from .timed import TimedPort

__all__ = [
    "BatchResponder",
    "BatchedPort",
    "DatagramPort",
    "TimedPort",
    "copyTOS",
    "listen",
    "listenMulticast",
    "listenUDP",
]
