"""
The kernel's times of sending.

Linux takes the time when a datagram leaves its queue for the network device, so that
the time it has waited there does not count.  The times come through the error queue,
each with the number of its datagram.  See C{SO_TIMESTAMPING} in timestamping.rst in the
documentation of the kernel.
"""

from __future__ import annotations

import socket
import sys

# From asm-generic/socket.h and linux/net_tstamp.h; Python does not have them.  The
# flags are SOF_TIMESTAMPING_TX_SOFTWARE, _SOFTWARE, _OPT_ID and _OPT_TSONLY.
_SO_TIMESTAMPING = 37
_FLAGS = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 11

# The kernel's numbers have 32 bits.
_NUMBERS = 1 << 32


def enableSendTimes(sock: socket.socket) -> bool:
    """
    Make the kernel queue a time for each datagram that a socket sends from now on, and
    number them from 0.

    @return: C{True} if there will be times.
    """
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _FLAGS)
    except OSError:
        return False
    return True


# The kernel also counts some of the datagrams that it then fails to send: before Linux
# 6.8 those that failed because of a pending ICMP error, and always those that the
# firewall or a full queue has dropped.  The errors do not show which.  But no datagram
# has a higher number than the newest one.  So a number that is too high shows how many
# were counted in vain.
#
# Until then, datagrams may get the times of earlier ones.  That is so only while
# datagrams wait in the queue.
class SendNumbers:
    """
    The numbers that the kernel gives to the datagrams of a socket.

    @ivar sent: Number of datagrams sent.
    """

    def __init__(self) -> None:
        self.sent = self._failed = 0

    def indexOf(self, number: int) -> int:
        """
        Return the index of a datagram among those sent, from 0.

        @param number: Number of the kernel for a datagram with a time.
        """
        newest = self.sent - 1
        # Half of the numbers are later ones.
        half = _NUMBERS // 2
        later = (number - self._failed - newest + half) % _NUMBERS - half
        if later > 0:
            self._failed += later
            return newest
        return newest + later
