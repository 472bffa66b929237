"""
Datagrams with a forged source address, on the loopback only.
"""

from __future__ import annotations

import os
import sys
from socket import (
    AF_INET,
    IPPROTO_RAW,
    IPPROTO_UDP,
    SO_BINDTODEVICE,
    SO_BROADCAST,
    SOCK_RAW,
    SOL_SOCKET,
    inet_aton,
    socket,
)
from struct import pack

whyNot = (
    "raw sockets are used as on Linux"
    if sys.platform != "linux"
    else "forging datagrams needs root"
    if os.geteuid() != 0
    else ""
)
"""
The reason why nothing can be forged here, or an empty string.
"""


class Forger:
    """
    Sends datagrams from any address of 127.0.0.0/8, all of which are this host,
    to any other; see raw(7).
    """

    def __init__(self) -> None:
        self._socket = socket(AF_INET, SOCK_RAW, IPPROTO_RAW)
        self._socket.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
        self._socket.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
        self.close = self._socket.close

    def send(
        self, datagram: bytes, source: tuple[str, int], destination: tuple[str, int]
    ) -> None:
        """
        Send a datagram.

        @raise ValueError: If one of the addresses is not on the loopback.
        """
        addresses = inet_aton(source[0]) + inet_aton(destination[0])
        if addresses[0] != 127 or addresses[4] != 127:
            raise ValueError(f"{source} or {destination} is not on the loopback")
        length = 8 + len(datagram)
        # RFC 791, the checksum is left to the kernel; RFC 768, without checksum.
        ip = pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, IPPROTO_UDP, 0)
        udp = pack("!HHHH", source[1], destination[1], length, 0)
        self._socket.sendto(ip + addresses + udp + datagram, (destination[0], 0))
