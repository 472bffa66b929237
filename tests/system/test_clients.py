"""
Tests for a server that clients of other projects ask.
"""

from __future__ import annotations

import os

from twisted.internet.defer import gatherResults
from twisted.internet.utils import getProcessOutputAndValue

from shout import bindUDP, bindUNIX
from tests.directory import shortDirectory
from tests.families import LOOPBACK, eachFamily
from tests.peers import PeerCase
from tests.twistdcase import needs


def untilReply(client: str) -> tuple[str, ...]:
    """
    Return a command that keeps the input of a client open until it has printed a line.
    Such a client exits at the end of its input, with or without a reply.
    """
    script = """
        fifo=$(mktemp -u fifo.XXXXXX) && mkfifo $fifo || exit
        (cat; cat $fifo) | %s | (head -n 1; : >$fifo)
    """
    return "sh", "-c", script % client


class ClientTests(PeerCase):
    """
    Tests for a server that is asked by clients of all kinds.
    """

    def setUp(self) -> None:
        super().setUp()
        self.directory = shortDirectory(self)
        sockets = bindUDP(0)
        self.port = sockets[0].getsockname()[1]
        self.serve(*sockets, bindUNIX(f"{self.directory}/s"))

    async def assertAnswered(self, *commands: tuple[str, ...]) -> None:
        """
        Clients that run at the same time all print the reply.
        """
        running = [
            getProcessOutputAndValue(
                *(executable, args, os.environ, self.directory, self.reactor),
                stdinBytes=b"hello\n",
            )
            for executable, *args in commands
        ]
        for output, errors, _ in await gatherResults(running):
            self.assertEqual((output, errors), (b"HELLO\n", b""))

    @needs("nc")
    async def test_nc(self) -> None:
        """
        netcat gets its reply.
        """
        port = str(self.port)
        await self.assertAnswered(*(("nc", "-u", "-W1", h, port) for h in LOOPBACK))

    @needs("ncat")
    async def test_ncat(self) -> None:
        """
        Nmap's ncat gets its reply.
        """
        commands = [f"ncat -u {host} {self.port}" for host in LOOPBACK]
        await self.assertAnswered(*map(untilReply, commands))

    @needs("socat")
    async def test_socat(self) -> None:
        """
        socat gets its reply, also over a UNIX socket.
        """
        addresses = [
            *eachFamily(f"UDP4:127.0.0.1:{self.port}", f"UDP6:[::1]:{self.port}"),
            f"UNIX-SENDTO:{self.directory}/s,bind={self.directory}/me",
        ]
        await self.assertAnswered(*(untilReply(f"socat - {a}") for a in addresses))

    @needs("bash")
    async def test_bash(self) -> None:
        """
        bash gets its reply.
        """
        script = "exec 3<>/dev/udp/{}/{}; cat >&3; head -n1 <&3"
        scripts = [script.format(host, self.port) for host in LOOPBACK]
        await self.assertAnswered(*(("bash", "-c", script) for script in scripts))

    @needs("node")
    async def test_node(self) -> None:
        """
        A client for Node.js gets its reply.
        """
        scripts = [
            f"""
                const client = require("dgram").createSocket("{kind}");
                client.on("message", reply => {{
                    console.log(reply.toString());
                    client.close();
                }});
                client.send("hello", {self.port}, "{host}");
            """
            for kind, host in eachFamily(("udp4", "127.0.0.1"), ("udp6", "::1"))
        ]
        await self.assertAnswered(*(("node", "-e", script) for script in scripts))
