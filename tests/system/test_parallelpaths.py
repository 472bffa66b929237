"""
Tests for C{shoutping --flows} on a network with parallel paths, of which one is hurt.
"""

from __future__ import annotations

import json
from typing import Any

from tests.lab import SERVER, Lab, whyNot
from tests.twistdcase import TwistdCase

_PORT = 7777


class ParallelPathsTests(TwistdCase):
    """
    Tests for the verdict of C{shoutping} on flows.  The paths that they take are seen
    by the routers.
    """

    if whyNot:
        skip = whyNot

    def setUp(self) -> None:
        super().setUp()
        self.lab = Lab(self, hasLimits=False)
        with self.lab.on("d"):
            server = self.start("twistd", "-n", "--pidfile=", "shout", "-p", f"{_PORT}")
        self.waitFor(server, "try it with")

    def ping(self, address: str, *options: str) -> tuple[dict[str, Any], set[int]]:
        """
        Measure 32 flows, of which some get no answer.

        @return: The results, and the source ports that used path 1 there.
        """
        self.lab.forgetPorts()
        host = f"[{address}]" if ":" in address else address
        flows = ("--flows", "32", "-c", "640", "-i", "0.002", "--json", *options)
        with self.lab.on("a"):
            process = self.run_("shoutping", *flows, f"{host}:{_PORT}")
        self.assertEqual((process.returncode, process.stderr), (1, ""))
        return json.loads(process.stdout), self.lab.ports("there")[1]

    def test_dead(self) -> None:
        """
        The flows through a dead path get no answer, and no others.
        """
        self.lab.kill(1)
        for address in SERVER:
            result, hurt = self.ping(address)
            self.assertEqual(set(result["verdict"]["dead"]), hurt)

    def test_traced(self) -> None:
        """
        All routers are found, and the verdict names the one that all flows without an
        answer go through.
        """
        self.lab.kill(1)
        result, hurt = self.ping(SERVER[1], "--trace")
        self.assertEqual(set(result["verdict"]["dead"]), hurt)
        seen = {hop["address"] for flow in result["flows"] for hop in flow["hops"][1:2]}
        self.assertEqual(seen, {f"2001:db8:77:1{n}::2" for n in range(4)})
        words = " ".join(result["verdict"]["words"])
        self.assertIn("go through 2001:db8:77:11::2, and no other does", words)

    def test_refused(self) -> None:
        """
        The verdict says which router refuses, and why.
        """
        self.lab.refuse(1)
        for address, router in zip(SERVER, ("10.77.11.2", "2001:db8:77:11::2")):
            result, hurt = self.ping(address)
            self.assertEqual(set(result["verdict"]["dead"]), hurt)
            self.assertEqual(
                {error["from"] for error in result["icmp_errors"]}, {router}
            )
            words = " ".join(result["verdict"]["words"])
            self.assertIn("administratively prohibited", words)
