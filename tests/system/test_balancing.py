"""
Tests for many shouts behind nginx, configured as in C{docs/deploy}.
"""

from __future__ import annotations

import os
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
from tests.system.test_deploy import DEPLOY, whyNoNginx
from tests.system.test_readme import needs
from tests.system.test_twistd import PATIENCE, TwistdCase

whyNot = hosts.whyNot or whyNoNginx

# Where nginx.conf has the shouts, and where nginx is in the network of Hosts.
SHOUTS = [f"192.0.2.{number}" for number in (11, 12, 13)]
NGINX = ("192.0.2.1", 9999)
CLIENT = "192.0.2.2"

# How many ask at the same time.
CLIENTS = 8


def askInTurn(
    clients: list[socket], total: int, between: Mapping[int, Callable[[], object]]
) -> list[bytes]:
    """
    Ask in a closed loop: each client has one datagram under way, and the next
    when it is answered or after half a second.

    @param clients: sockets that are connected.

    @param total: how many datagrams to send; each is another one.

    @param between: what to do when so many have been sent.

    @return: what came, sooner or later.
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
        self.servers = [self.serve(address) for address in SHOUTS]

    def serve(self, address: str) -> subprocess.Popen[str]:
        """
        Start a shout.
        """
        with self.hosts.on("b"):
            server = self.start("twistd", "-n", "--pidfile=", "shout", "-i", address)
        self.waitFor(server, "try it with")
        return server

    def balance(self, failTimeout: str = "5s") -> None:
        """
        Start nginx, and wait until it answers.
        """
        text = (DEPLOY / "nginx.conf").read_text()
        log = os.path.join(self.folder, "log")
        text = text.replace("/var/log/nginx/error.log", log)
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as f:
            f.write(text.replace("fail_timeout=5s", f"fail_timeout={failTimeout}"))
        pid = os.path.join(self.folder, "pid")
        directives = f"daemon off; pid {pid};"
        with self.hosts.on("a"):
            nginx = subprocess.Popen(["nginx", "-e", log, "-c", path, "-g", directives])
        self.addCleanup(nginx.wait)
        # It ends its workers.
        self.addCleanup(nginx.terminate)
        self.askUntilAnswered()

    def client(self) -> socket:
        """
        Return a client of nginx's.
        """
        with self.hosts.on("b"):
            client = socket(AF_INET, SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind((CLIENT, 0))
        client.connect(NGINX)
        return client

    def askUntilAnswered(self) -> None:
        """
        Ask again and again until an answer comes.
        """
        client = self.client()
        client.settimeout(0.1)
        for _ in range(PATIENCE * 10):
            try:
                client.send(b"hello")
                if client.recv(65535) == b"HELLO":
                    return
            except TimeoutError:
                pass
            except ConnectionRefusedError:
                time.sleep(0.1)
        self.fail("nobody answers")

    def lose(self, end: Callable[[], object]) -> tuple[int, int]:
        """
        Ask in a closed loop, end a shout amid that, and check that every reply
        is the right one.

        nginx answers with an empty datagram where a shout's port is closed; that
        is a loss like any other.

        @return: how many datagrams were lost, and how many times at most nginx
            has tried the one that ended again.
        """
        total = 4000
        clients = [self.client() for _ in range(CLIENTS)]
        started = time.monotonic()
        replies = askInTurn(clients, total, {1000: end})
        elapsed = time.monotonic() - started
        came = set(replies) - {b""}
        self.assertEqual(came - {b"ASK %d" % number for number in range(total)}, set())
        return total - len(came), 1 + int(elapsed / self.setting("fail_timeout"))

    def setting(self, name: str) -> int:
        """
        Return the value of a parameter in the configuration.
        """
        found = re.search(rf"{name}=(\d+)", (DEPLOY / "nginx.conf").read_text())
        assert found is not None
        return int(found[1])

    def test_killed(self) -> None:
        """
        When one of them is killed under load, no more is lost than what it had
        in hand, what is sent to it until nginx has seen it fail often enough,
        and one datagram whenever nginx tries it again.
        """
        self.balance()

        def kill() -> None:
            self.servers[0].kill()
            self.servers[0].wait()

        lost, tries = self.lose(kill)
        inHand = CLIENTS
        untilSeen = self.setting("max_fails") - 1 + CLIENTS
        self.assertLessEqual(lost, inHand + untilSeen + tries)

    def test_stopped(self) -> None:
        """
        One that is stopped answers what it has in hand, so that the loss is what
        is sent to it from then on.
        """
        self.balance()
        lost, tries = self.lose(lambda: self.finish(self.servers[0], signal.SIGTERM))
        untilSeen = self.setting("max_fails") - 1 + CLIENTS
        self.assertLessEqual(lost, untilSeen + tries)

    def test_back(self) -> None:
        """
        One that failed is asked again when it is back.
        """
        self.balance(failTimeout="1s")
        self.servers[0].kill()
        self.servers[0].wait()
        askInTurn([self.client()], 20, {})
        self.serve(SHOUTS[0])
        for server in self.servers[1:]:
            server.kill()
            server.wait()
        # Nobody else is left to answer.
        self.askUntilAnswered()

    @needs("nft")
    def test_loop(self) -> None:
        """
        A loop with a server that sends back what it gets ends, by the rules for
        the firewall beside nginx.
        """
        with self.hosts.on("a"):
            rules = str(DEPLOY / "nginx.nft")
            subprocess.run(["nft", "--file", rules], check=True)
        self.balance()
        echo = self.client()
        echo.settimeout(1)
        echo.send(b"LOOP")
        with self.assertRaises(TimeoutError):
            for _ in range(100_000):
                echo.send(echo.recv(65535))
