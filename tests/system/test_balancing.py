"""
Tests for many shouts behind nginx, configured as in C{docs/deploy}.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from selectors import EVENT_READ, DefaultSelector
from socket import AF_INET, SOCK_DGRAM, socket
from unittest import skipIf

from tests import hosts
from tests.hosts import Hosts
from tests.system.deploy import DEPLOY, whyNoNginx
from tests.twistdcase import TIMEOUT, TwistdCase, needs

whyNot = hosts.whyNot or whyNoNginx

# The addresses of the shouts in nginx.conf, and of nginx in the network of Hosts.
SHOUTS = [f"192.0.2.{number}" for number in (11, 12, 13)]
NGINX = ("192.0.2.1", 9999)
CLIENT = "192.0.2.2"

# The number of clients that ask at the same time.
CLIENTS = 8


def askInTurn(
    clients: list[socket], total: int, between: Mapping[int, Callable[[], object]]
) -> list[bytes]:
    """
    Ask in a closed loop: each client has one datagram in flight, and sends the next
    after the reply or after half a second.

    @param clients: Connected sockets.

    @param total: Number of datagrams to send; each is different.

    @param between: Functions to call after a number of datagrams, by that number.

    @return: The replies, in order.
    """
    replies = []
    waiting: dict[socket, float] = {}
    number = 0
    with DefaultSelector() as selector:
        for client in clients:
            selector.register(client, EVENT_READ)
        while number < total or waiting:
            for client in clients:
                if client not in waiting and number < total:
                    client.send(b"ask %d" % number)
                    waiting[client] = time.monotonic() + 0.5
                    number += 1
                    between.get(number, lambda: None)()
            for key, _ in selector.select(0.1):
                client = next(each for each in clients if each is key.fileobj)
                replies.append(client.recv(65535))
                waiting.pop(client, None)
            now = time.monotonic()
            waiting = {each: end for each, end in waiting.items() if end > now}
    return replies


@skipIf(whyNot, whyNot)
class NginxTests(TwistdCase):
    """
    Tests for three shouts on one host behind nginx on another.
    """

    def setUp(self) -> None:
        super().setUp()
        self.hosts = Hosts(self)
        for address in SHOUTS:
            self.hosts.ip("b", f"address add {address}/24 dev vb")

    def serve(self, *addresses: str) -> list[subprocess.Popen[str]]:
        """
        Start shouts, and wait until they listen.
        """
        with self.hosts.on("b"):
            servers = [
                self.start("twistd", "-n", "--pidfile=", "shout", "-i", address)
                for address in addresses
            ]
        for server in servers:
            self.waitFor(server, "try it with")
        return servers

    def balance(self, failTimeout: int) -> None:
        """
        Start nginx, and wait until it answers.

        @param failTimeout: Seconds until it tries a shout again that failed.
        """
        text = (DEPLOY / "nginx.conf").read_text()
        log = self.path("log")
        text = text.replace("/var/log/nginx/error.log", log)
        path = self.path("nginx.conf")
        with open(path, "w") as f:
            f.write(text.replace("fail_timeout=5s", f"fail_timeout={failTimeout}s"))
        pid = self.path("pid")
        directives = f"daemon off; pid {pid};"
        with self.hosts.on("a"):
            nginx = subprocess.Popen(["nginx", "-e", log, "-c", path, "-g", directives])
        self.addCleanup(nginx.wait)
        # SIGTERM ends its workers, too.
        self.addCleanup(nginx.terminate)
        self.askUntilAnswered()

    def client(self) -> socket:
        """
        Return the socket of a client of nginx.
        """
        with self.hosts.on("b"):
            client = socket(AF_INET, SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind((CLIENT, 0))
        client.connect(NGINX)
        return client

    def askUntilAnswered(self) -> None:
        """
        Ask again and again until a reply comes.
        """
        client = self.client()
        client.settimeout(0.1)
        for _ in range(TIMEOUT * 10):
            try:
                client.send(b"hello")
                if client.recv(65535) == b"HELLO":
                    return
            except TimeoutError:
                pass
            except ConnectionRefusedError:
                time.sleep(0.1)
        self.fail("no reply")

    def countLost(self, end: Callable[[], object], failTimeout: int) -> tuple[int, int]:
        """
        Ask in a closed loop, end a shout after a quarter, and check that every reply
        is the right one.

        nginx answers with an empty datagram if the port of a shout is closed; that is
        a loss like any other.

        @return: The number of lost datagrams, and the most times that nginx can have
            tried the ended shout again.
        """
        total = 2000
        clients = [self.client() for _ in range(CLIENTS)]
        started = time.monotonic()
        replies = set(askInTurn(clients, total, {total // 4: end})) - {b""}
        elapsed = time.monotonic() - started
        self.assertEqual(
            replies - {b"ASK %d" % number for number in range(total)}, set()
        )
        return total - len(replies), 1 + int(elapsed / failTimeout)

    def lostUntilFailed(self) -> int:
        """
        Return the most datagrams sent to an ended shout before nginx excludes it.
        """
        text = (DEPLOY / "nginx.conf").read_text()
        found = re.search(r"max_fails=(\d+)", text)
        assert found is not None
        return int(found[1]) - 1 + CLIENTS

    def test_killed(self) -> None:
        """
        When a shout is killed under load, no more datagrams are lost than it had in
        hand, than are sent to it until it has failed often enough, and one more
        whenever nginx tries it again.  When it is back it is asked again.
        """
        first, *others = self.serve(*SHOUTS)
        self.balance(failTimeout=1)

        def kill() -> None:
            first.kill()
            first.wait()

        lost, tries = self.countLost(kill, failTimeout=1)
        self.assertLessEqual(lost, CLIENTS + self.lostUntilFailed() + tries)
        self.serve(SHOUTS[0])
        for server in others:
            server.kill()
            server.wait()
        # No other can answer.
        self.askUntilAnswered()

    def test_stopped(self) -> None:
        """
        A shout that is stopped answers the datagrams that it has in hand, so only
        those are lost that are sent to it afterwards.
        """
        first, *_ = self.serve(*SHOUTS)
        self.balance(failTimeout=5)
        lost, tries = self.countLost(
            lambda: self.finish(first, signal.SIGTERM), failTimeout=5
        )
        self.assertLessEqual(lost, self.lostUntilFailed() + tries)

    @needs("nft")
    def test_loop(self) -> None:
        """
        The rules for the firewall beside nginx end a loop with a server that sends
        back every datagram.
        """
        with self.hosts.on("a"):
            rules = str(DEPLOY / "nginx.nft")
            subprocess.run(["nft", "--file", rules], check=True)
        self.serve(SHOUTS[0])
        self.balance(failTimeout=5)
        echo = self.client()
        echo.settimeout(0.5)
        echo.send(b"LOOP")
        with self.assertRaises(TimeoutError):
            for _ in range(100_000):
                echo.send(echo.recv(65535))
