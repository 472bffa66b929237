"""
Free UDP ports.
"""

from __future__ import annotations

import random

from shout import BindError, bindUDP


def freePort() -> int:
    """
    Return a UDP port of 127.0.0.1 where nothing listens.

    It is below the ports that Linux gives to sockets without one, so that no test that
    runs at the same time gets it by chance.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            [sock] = bindUDP(port, ["127.0.0.1"])
        except BindError:
            continue
        sock.close()
        return port
