"""
C{python -m benchmarks.slow} measures the wait of 64 clients for a protocol that takes
5 ms per datagram, on Twisted's own port and on those of L{shout.udp}.

The datagrams are sent while the server is stopped, so all of them wait when it
continues.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from tempfile import TemporaryDirectory

from benchmarks.kill import stopped
from benchmarks.servers import PORTS, Running, prepare, rival

CLIENTS = 64
SERVERS = {
    f"{kind:10}{protocol}": rival(name, kind=kind)
    for kind in PORTS
    for protocol, name in (("plain", "slow"), ("Responder", "slowResponder"))
}


def waits(server: Running) -> list[float]:
    """
    Return the milliseconds that each reply takes, in ascending order.
    """
    waits = []
    with ExitStack() as stack:
        with stopped(server.pid):
            clients = [
                stack.enter_context(socket(AF_INET, SOCK_DGRAM)) for _ in range(CLIENTS)
            ]
            for client in clients:
                client.connect(("127.0.0.1", server.port))
                client.send(b"slow")
        begin = time.monotonic()
        while clients:
            for client in select.select(clients, [], [], 5)[0]:
                waits.append((time.monotonic() - begin) * 1000)
                client.recv(100)
                clients.remove(client)
            if time.monotonic() > begin + 5:
                sys.exit(f"{len(clients)} replies are missing")
    return waits


def main() -> int:
    """
    Print the time of the first, the median and the last reply.
    """
    cores = {min(os.sched_getaffinity(0))}
    print(f"{'port':10}{'protocol':12}{'first ms':>10}{'median ms':>11}{'last ms':>9}")
    with TemporaryDirectory() as name:
        directory = Path(name)
        for title, command in prepare(SERVERS, directory).items():
            with Running("slow", command, directory, cores) as server:
                server.waitUntilUp()
                times = waits(server)
            first, middle, last = times[0], times[CLIENTS // 2], times[-1]
            print(f"{title:22}{first:10.1f}{middle:11.1f}{last:9.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
