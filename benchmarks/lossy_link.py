"""
A lossy link between two network interfaces, like C{tc qdisc add ... netem}, for kernels
without netem.  It delays, loses, duplicates and reorders IPv4 frames from the first
interface to the second.  Other frames, and frames in the other direction, pass
unchanged.

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
    Forward frames for some seconds, and print the number of losses and so on.
    """
    generator = random.Random(5)
    counts: Counter[str] = Counter()
    sockets = []
    for name in (first, second):
        sock = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)
        )
        # Frames between interfaces of one machine have no checksums yet.  With this
        # header the kernel computes them later; see packet(7), PACKET_VNET_HDR.
        sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        sock.bind((name, 0))
        sockets.append(sock)
    ingress, egress = sockets
    waiting: list[tuple[float, int, bytes]] = []
    number = 0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        while waiting and waiting[0][0] <= now:
            egress.send(heapq.heappop(waiting)[2])
        due = waiting[0][0] if waiting else end
        ready, _, _ = select.select(sockets, [], [], max(0, min(due, end) - now))
        for sock in ready:
            frame, address = sock.recvfrom(65545)
            if address[2] == _PACKET_OUTGOING:
                continue
            if sock is egress:
                ingress.send(frame)
                continue
            if address[1] != _ETH_P_IP:
                egress.send(frame)
                continue
            counts["passed"] += 1
            if generator.random() < LOSS:
                counts["lost"] += 1
                continue
            copies = 1
            if generator.random() < DUPLICATE:
                counts["duplicated"] += 1
                copies = 2
            for _ in range(copies):
                delay = DELAY
                if generator.random() < REORDER:
                    # As netem does it: sent at once, before the frames that wait.
                    counts["reordered"] += 1
                    delay = 0
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, frame))
    print(f"frames on the link: {dict(counts)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
