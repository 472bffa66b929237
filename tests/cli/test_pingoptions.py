"""
Tests for L{shout.cli.pingoptions}.
"""

from __future__ import annotations

import socket
from contextlib import redirect_stdout
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from shout.cli.pingoptions import (
    Destination,
    parse,
    parseDestination,
    scheduleOf,
    socketOptionsOf,
)
from shout.cli.usage import UsageError
from shout.measure.schedule import Schedule
from shout.measure.target import SocketOptions
from shout.sockets.address import authority
from tests.properties import untimed


class ParseTests(SynchronousTestCase):
    """
    Tests for L{parse}.
    """

    def refuse(self, *arguments: str) -> str:
        """
        Return the message about a wrong command line.
        """
        message = str(self.assertRaises(UsageError, parse, arguments))
        self.assertNotIn("\n", message)
        return message

    def test_defaults(self) -> None:
        """
        A host alone is measured at port 9999, once per second, without end.
        """
        options = parse(["h"])
        self.assertEqual(options.destinations, [Destination("h", 9999)])
        self.assertEqual(scheduleOf(options), Schedule(None, 1.0, 56, 1.0, None))
        self.assertFalse(options.json or options.quiet or options.flood)
        self.assertEqual(options.family, socket.AF_UNSPEC)

    def test_short(self) -> None:
        """
        The options have the letters that those of ping have.
        """
        words = "-c 5 -i 0.2 -s 100 -w 10 -t 3 -q -4"
        options = parse(["a", *words.split(), "b"])
        self.assertEqual(scheduleOf(options), Schedule(5, 0.2, 100, 3.0, 10.0))
        self.assertEqual([each.host for each in options.destinations], ["a", "b"])
        self.assertEqual((options.quiet, options.family), (True, socket.AF_INET))

    def test_long(self) -> None:
        """
        The options have long names, too.
        """
        words = "--count 5 --interval 0.2 --size 100 --deadline 10 --timeout 2 --quiet"
        options = parse(["h", *words.split()])
        self.assertEqual(scheduleOf(options), Schedule(5, 0.2, 100, 2.0, 10.0))

    def test_rate(self) -> None:
        """
        A rate is another way to give the interval.
        """
        self.assertEqual(scheduleOf(parse(["h", "--rate", "4"])).interval, 0.25)

    def test_adaptive(self) -> None:
        """
        C{-A} keeps the interval for probes that are not answered.
        """
        schedule = scheduleOf(parse(["h", "-A", "-i", "0.2"]))
        self.assertEqual((schedule.isAdaptive, schedule.interval), (True, 0.2))
        self.assertEqual(scheduleOf(parse(["h", "-A"])).interval, 1)

    def test_sockets(self) -> None:
        """
        The options about addresses and IP headers are those of the sockets.
        """
        words = "-I 127.0.0.2 --ttl 9 -Q EF -M do"
        self.assertEqual(
            socketOptionsOf(parse(["h", *words.split()])),
            SocketOptions("127.0.0.2", ttl=9, tos=184, mayFragment=False),
        )
        words = "--interface eth0 --tos 0x20 --df dont"
        self.assertEqual(
            socketOptionsOf(parse(["h", *words.split()]), True),
            SocketOptions(device="eth0", tos=32, mayFragment=True, isShared=True),
        )
        self.assertEqual(socketOptionsOf(parse(["h"])), SocketOptions())

    def test_family(self) -> None:
        """
        The source selects the address family of the servers; a device does not.
        """
        for source, family in (
            ("192.0.2.1", socket.AF_INET),
            ("::ffff:192.0.2.1", socket.AF_INET),
            ("2001:db8::1", socket.AF_INET6),
            ("eth0", socket.AF_UNSPEC),
        ):
            self.assertEqual(parse(["h", "-I", source]).family, family)

    def test_jsonLines(self) -> None:
        """
        C{--json-lines} implies C{--json}.
        """
        self.assertTrue(parse(["h", "--json-lines"]).json)

    def test_port(self) -> None:
        """
        C{--port} is the port of the hosts without one.
        """
        words = ["a", "b:1", "::1", "[::1]", "[::1]:1", "unix:s", "-p", "4000"]
        ports = [each.port for each in parse(words).destinations if not each.unix]
        self.assertEqual(ports, [4000, 1, 4000, 4000, 1])

    def test_modes(self) -> None:
        """
        The searches allow options about their datagrams and their output.
        """
        for words in ("--mtu --json -t 2 -6 -p 1", "--find-rate -q --flood -M do"):
            parse(["h", *words.split()])

    def test_smallest(self) -> None:
        """
        A size must hold the nonce, the number and the checksum.
        """
        self.assertEqual(parse(["h", "-s", "32"]).size, 32)
        self.assertIn("from 32 to", self.refuse("h", "-s", "31"))

    def test_noHost(self) -> None:
        """
        At least one host must be given.
        """
        for words in ([], ["-q"], ["--"], ["--mtu"]):
            self.assertEqual(
                self.refuse(*words),
                "no host to measure: try shoutping localhost, or --help",
            )

    def test_endOfOptions(self) -> None:
        """
        Everything after two dashes is a host.
        """
        options = parse(["a", "--", "-b"])
        self.assertEqual([each.host for each in options.destinations], ["a", "-b"])

    def test_refused(self) -> None:
        """
        Options that are wrong, or cannot be combined, are refused with their names.
        """
        for words, expected in (
            ("-x", "unknown option '-x'; --help lists the options"),
            ("--ping", "unknown option '--ping'; --help lists the options"),
            ("-i 1 --rate 5", "--interval cannot be used with --rate"),
            ("-A --rate 5", "--rate cannot be used with --adaptive"),
            ("-A --bitrate 1M", "--bitrate cannot be used with --adaptive"),
            ("--mtu -A", "--mtu cannot be used with --adaptive"),
            ("--bitrate 1M --rate 5", "--rate cannot be used with --bitrate"),
            ("--bitrate 1M -i 5", "--interval cannot be used with --bitrate"),
            ("unix:s --bitrate 1M", "--bitrate cannot be used with unix:PATH"),
            ("--find-rate --bitrate 1M", "--find-rate cannot be used with --bitrate"),
            ("--csv --json", "--csv cannot be used with --json"),
            ("--csv --json-lines", "--csv cannot be used with --json"),
            ("--mtu --csv", "--mtu cannot be used with --csv"),
            ("-4 -6", "not allowed with"),
            ("unix:s -4", "-4 and -6 cannot be used with unix:PATH"),
            ("unix:s -I lo", "--interface cannot be used with unix:PATH"),
            ("unix:s --ttl 1", "--ttl cannot be used with unix:PATH"),
            ("unix:s -Q 0", "--tos cannot be used with unix:PATH"),
            ("unix:s -M do", "--df cannot be used with unix:PATH"),
            ("unix:s --source-ports 1", "--source-ports cannot be used with unix:PATH"),
            ("-I 192.0.2.1 -6", "--interface 192.0.2.1 cannot be used with -6"),
            ("-I ::1 -4", "--interface ::1 cannot be used with -4"),
            ("-I fe80::1%x0", "fe80::1%x0 is not an address of this host"),
            ("--interface=", "--interface takes an address or a network device"),
            ("--ttl 0", "--ttl must be a number from 1 to 255"),
            ("--ttl 256", "--ttl must be a number from 1 to 255"),
            ("-M want", "--df must be do or dont, not 'want'"),
            ("-Q AF5", "--tos must be the name of a DSCP"),
            ("--mtu -M do", "--mtu cannot be used with --df"),
            ("--find-rate --source-ports 1", "be used with --source-ports"),
            ("--mtu --find-rate", "--mtu cannot be used with --find-rate"),
            ("--mtu -c 3", "--mtu cannot be used with --count"),
            ("--mtu --max-loss 0", "--mtu cannot be used with --max-loss"),
            ("--mtu --json-lines", "--mtu cannot be used with --json-lines"),
            ("--mtu -s 100", "--mtu cannot be used with --size"),
            ("--mtu b", "--mtu takes one host"),
            ("--find-rate -i 1", "--find-rate cannot be used with --interval"),
            ("--find-rate b", "--find-rate takes one host"),
            ("-c 0", "--count must be a number from 1"),
            ("-c x", "--count must be"),
            ("-c", "-c/--count needs a value, which cannot begin with -"),
            ("-i 0", "--interval must be"),
            ("-i nan", "--interval must be"),
            ("-w 0", "--deadline must be"),
            ("-p 0", "--port must be"),
            ("--max-loss 101", "--max-loss must be"),
            ("--rate 0", "--rate must be"),
        ):
            self.assertIn(expected, self.refuse("a", *words.split()))

    def test_help(self) -> None:
        """
        The first screen of the help has the purpose, examples and the options that
        most people need.
        """
        output = StringIO()
        with redirect_stdout(output):
            error = self.assertRaises(SystemExit, parse, ["--help"])
        self.assertEqual(error.code, 0)
        first = "\n".join(output.getvalue().splitlines()[:24])
        self.assertIn("usage: shoutping [options] HOST[:PORT] ...\n\nMeasure ", first)
        for example in ("shoutping example.com ", "--mtu", "--find-rate", "unix:"):
            self.assertIn(example, first)
        for option in ("--count NUMBER", "--interval SECONDS", "--deadline SECONDS"):
            self.assertIn(option, first)


class ParseDestinationTests(SynchronousTestCase):
    """
    Tests for L{parseDestination}.
    """

    def test_destinations(self) -> None:
        """
        A destination is a host with or without a port, or the path of a UNIX socket.
        """
        for text, expected in (
            ("example.com", ("example.com", 9, None)),
            ("example.com:4000", ("example.com", 4000, None)),
            ("192.0.2.1:65535", ("192.0.2.1", 65535, None)),
            ("2001:db8::1", ("2001:db8::1", 9, None)),
            ("::1", ("::1", 9, None)),
            ("fe80::1%eth0", ("fe80::1%eth0", 9, None)),
            ("[2001:db8::1]", ("2001:db8::1", 9, None)),
            ("[2001:db8::1]:9999", ("2001:db8::1", 9999, None)),
            ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1, None)),
            ("unix:/run/shout.sock", ("", 9, "/run/shout.sock")),
            ("unix:@shout", ("", 9, "@shout")),
            ("unix:[:", ("", 9, "[:")),
        ):
            self.assertEqual(parseDestination(text, 9), expected)

    @untimed
    @given(st.sampled_from(["h", "192.0.2.1", "::1"]), st.integers(1, 65535))
    def test_authority(self, host: str, port: int) -> None:
        """
        A target is read as it is printed.
        """
        text = authority(host, port)
        self.assertEqual(parseDestination(text, 9), (host, port, None))

    def test_refused(self) -> None:
        """
        Other words are refused with the mistake, and the way to write it.
        """
        port = "must be a number from 1 to 65535, not "
        address = (
            "is not a target; write HOST, HOST:PORT, [IPV6-ADDRESS]:PORT or unix:PATH"
        )
        for text, message in (
            ("", "no host in ''; write HOST or HOST:PORT"),
            (":9999", "no host in ':9999'; write HOST or HOST:PORT"),
            ("h:", f"the port in 'h:' {port}''"),
            ("h:abc", f"the port in 'h:abc' {port}'abc'"),
            ("h:0", f"the port in 'h:0' {port}'0'"),
            ("h:70000", f"the port in 'h:70000' {port}'70000'"),
            ("[::1]:", f"the port in '[::1]:' {port}''"),
            ("[::1", f"'[::1' {address}"),
            ("::1]:9", f"'::1]:9' {address}"),
            ("[::1]9", f"'[::1]9' {address}"),
            ("[]", f"'[]' {address}"),
            ("[h]:9", f"'[h]:9' {address}"),
            ("[192.0.2.1]:9", f"'[192.0.2.1]:9' {address}"),
            ("h:1:2", f"'h:1:2' {address}"),
            ("2001:db8::1:99999", f"'2001:db8::1:99999' {address}"),
            ("unix:", "no path after unix:; write unix:PATH or unix:@NAME"),
            ("9999", "'9999' is not a host; write HOST:PORT, or -p PORT"),
        ):
            error = self.assertRaises(UsageError, parseDestination, text, 9)
            self.assertEqual(str(error), message)
