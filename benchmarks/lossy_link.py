"""
A link between two network interfaces that does what C{tc qdisc add ... netem}
would, for kernels without netem: it delays, loses, duplicates and reorders what
goes from the first to the second.  Frames other than IPv4, and what comes back,
pass as they are.

    lossy_link.py FIRST SECOND SECONDS
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import sys
import time
from collections import Counter

DELAY = 0.05
LOSS, DUPLICATE, REORDER = 0.10, 0.05, 0.10

_ETH_P_ALL = 3
_ETH_P_IP = 0x0800
_PACKET_OUTGOING = 4
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15


def main(first: str, second: str, seconds: float) -> None:
    """
    Forward frames for a while, and print what was done to them.
    """
    dice = random.Random(5)
    done: Counter[str] = Counter()
    sockets = []
    for name in (first, second):
        sock = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)
        )
        # What this machine's own interfaces exchange has no checksums yet; this
        # passes on what is still to be done.  See packet(7), PACKET_VNET_HDR.
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.bind((name, 0))
        sockets.append(sock)
    there, back = sockets
    waiting: list[tuple[float, int, bytes]] = []
    number = 0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        while waiting and waiting[0][0] <= now:
            back.send(heapq.heappop(waiting)[2])
        due = waiting[0][0] if waiting else end
        ready, _, _ = select.select(sockets, [], [], max(0, min(due, end) - now))
        for sock in ready:
            frame, address = sock.recvfrom(65545)
            if address[2] == _PACKET_OUTGOING:
                continue
            if sock is back:
                there.send(frame)
                continue
            if address[1] != _ETH_P_IP:
                back.send(frame)
                continue
            done["passed"] += 1
            if dice.random() < LOSS:
                done["lost"] += 1
                continue
            copies = 1
            if dice.random() < DUPLICATE:
                done["duplicated"] += 1
                copies = 2
            for _ in range(copies):
                delay = DELAY
                if dice.random() < REORDER:
                    # As netem does it: sent at once, before what waits.
                    done["reordered"] += 1
                    delay = 0
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, frame))
    print(f"the link: {dict(done)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
