"""
Tests for C{examples/}.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from socket import inet_aton

from twisted.names.dns import Message, Query
from twisted.trial.unittest import SynchronousTestCase

from shout.sockets.bind import connectUDP

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


class DNSServerTests(SynchronousTestCase):
    """
    Tests for C{examples/dnsserver.py}.
    """

    def test_answers(self) -> None:
        """
        The server answers with an address from C{/etc/hosts}.
        """
        command = [sys.executable, str(EXAMPLES / "dnsserver.py"), "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.communicate)
        self.addCleanup(server.terminate)
        assert server.stdout is not None
        line = server.stdout.readline()
        [number] = re.findall(r"^listening on 127\.0\.0\.1, port (\d+)$", line)
        query = Message(id=7)
        query.queries = [Query(b"localhost")]
        with connectUDP("127.0.0.1", int(number)) as client:
            client.settimeout(60)
            client.send(query.toStr())
            response = Message()
            response.fromStr(client.recv(512))
        found = [getattr(each.payload, "address", None) for each in response.answers]
        self.assertIn(inet_aton("127.0.0.1"), found)
