"""
Tests for L{shout.cli.ask.ask}, with real servers.
"""

from __future__ import annotations

from shout.sockets.unix import bindUNIX
from tests.cli.command import CommandCase
from tests.directory import shortDirectory
from tests.families import needsIPv6


class TextTests(CommandCase):
    """
    Tests for C{shout TEXT}.
    """

    @needsIPv6
    async def test_ipv6(self) -> None:
        """
        The host may be an IPv6 address.
        """
        port = str(self.serveUDP("::1"))
        result = await self.ask("-H", "::1", "-p", port, "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_name(self) -> None:
        """
        The host may be a name whose server listens on IPv4 only.
        """
        port = str(self.serveUDP())
        result = await self.ask("-H", "localhost", "-p", port, "hello", "world")
        self.assertEqual(result, (0, b"HELLO WORLD\n", []))

    async def test_unix(self) -> None:
        """
        The server may be at a UNIX socket.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        result = await self.ask("-u", path, "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_unicode(self) -> None:
        """
        With C{--unicode} the right reply has the capitals of Unicode.
        """
        _, port = self.misbehave(lambda datagram: [datagram.decode().upper().encode()])
        arguments = ("-p", str(port), "straße")
        result = await self.ask("--unicode", *arguments)
        self.assertEqual(result, (0, b"STRASSE\n", []))
        status, _, _ = await self.ask("-t", "0.01", *arguments)
        self.assertEqual(status, 1)

    async def test_refused(self) -> None:
        """
        If nothing listens at a port, one line has a command that starts a server, and
        the status is 1.
        """
        port = self.freePort()
        result = await self.ask("-p", str(port), "-t", "86400", "hello")
        error = f"127.0.0.1:{port} refused: nothing is listening there"
        error += f" (start one with: twistd -n shout --port {port})"
        self.assertEqual(result, (1, b"", [error]))

    async def test_noSuchSocket(self) -> None:
        """
        If there is no socket at a path, one line reports it, and the status is 1.
        """
        result = await self.ask("-u", "/nonexistent/s", "hello")
        error = "/nonexistent/s refused: there is no such socket"
        error += " (start one with: twistd -n shout --unix /nonexistent/s)"
        self.assertEqual(result, (1, b"", [error]))

    async def test_otherHost(self) -> None:
        """
        No server is started on another host, so the advice is to look there.
        """
        port = str(self.freePort())
        _, _, (error,) = await self.ask("-H", "127.0.0.2", "-p", port, "hello")
        self.assertIn("(is a server running there, on this port?)", error)

    async def test_unreachable(self) -> None:
        """
        If there is no route to the host, one line reports it, and the status is 1.
        """
        status, _, (error,) = await self.ask("-H", "255.255.255.255", "hello")
        self.assertEqual(status, 1)
        self.assertIn("cannot reach 255.255.255.255:9999: ", error)

    async def test_noAnswer(self) -> None:
        """
        If the server does not answer, one line reports it, and the status is 1.
        """
        _, port = self.misbehave(lambda datagram: [])
        arguments = ("-p", str(port), "-t", "0.01", "-r", "3", "hello")
        status, out, (error,) = await self.ask(*arguments)
        self.assertEqual((status, out), (1, b""))
        self.assertIn(f"no answer from 127.0.0.1:{port} to 4 tries", error)

    async def test_wrongAnswer(self) -> None:
        """
        If only wrong replies arrive, one line reports it, and the status is 1.
        """
        _, port = self.misbehave(lambda datagram: [datagram])
        arguments = ("-p", str(port), "-t", "0.15", "hello")
        status, out, (error,) = await self.ask(*arguments)
        self.assertEqual((status, out), (1, b""))
        expected = f"127.0.0.1:{port} answered 'hello' instead of 'HELLO' "
        self.assertIn(f"{expected}(3 wrong replies to 3 tries in ", error)

    async def test_forgedReplies(self) -> None:
        """
        Wrong replies before the right one change neither the output nor the status.
        """
        replies = [b"\xffgarbage", b"hello", b"GOODBYE", b"HELLO"]
        _, port = self.misbehave(lambda datagram: replies)
        result = await self.ask("-p", str(port), "hello")
        self.assertEqual(result, (0, b"HELLO\n", []))

    async def test_unknownHost(self) -> None:
        """
        If the host has no address, one line reports it, and the status is 2.
        """
        result = await self.ask("-H", "a..b", "hello")
        self.assertEqual(result, (2, b"", ["no address is known for 'a..b'"]))


class LinesTests(CommandCase):
    """
    Tests for C{shout} without text.
    """

    async def test_thousand(self) -> None:
        """
        Each of a thousand lines gets its reply.
        """
        lines = [b"line number %d" % number for number in range(1000)]
        port = str(self.serveUDP())
        status, out, errors = await self.ask("-p", port, stdin=b"\n".join(lines))
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(
            sorted(out.splitlines()), sorted(line.upper() for line in lines)
        )

    async def test_unix(self) -> None:
        """
        So does each of many lines to a UNIX socket, whose queue is short.
        """
        path = shortDirectory(self) + "/shout"
        self.serve(bindUNIX(path))
        lines = [b"%d" % number for number in range(200)]
        status, out, errors = await self.ask("-u", path, stdin=b"\n".join(lines))
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(sorted(out.splitlines()), sorted(lines))

    async def test_long(self) -> None:
        """
        The longest lines do not overflow the server, without a second try.
        """
        lines = [b"%02d" % number + b"x" * 65505 for number in range(20)]
        arguments = ("-p", str(self.serveUDP()), "-r", "0", "-t", "30")
        status, out, errors = await self.ask(*arguments, stdin=b"\n".join(lines))
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(sorted(out.splitlines()), [line.upper() for line in lines])

    async def test_bytes(self) -> None:
        """
        All bytes but the line ends are sent and printed unchanged, capitals apart.
        """
        every = bytes(byte for byte in range(256) if byte != ord("\n"))
        port = str(self.serveUDP())
        result = await self.ask("-p", port, stdin=every + b"\r\n")
        self.assertEqual(result, (0, every.upper() + b"\n", []))

    async def test_lineEnds(self) -> None:
        """
        Line ends are not sent, empty lines are, and the last line needs no end.
        """
        peer, port = self.misbehave(lambda datagram: [datagram.upper()])
        status, out, errors = await self.ask("-p", str(port), stdin=b"a\r\n\nb")
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(sorted(out.splitlines()), [b"", b"A", b"B"])
        self.assertEqual(sorted(peer.received), [b"", b"a", b"b"])

    async def test_someUnanswered(self) -> None:
        """
        A line without a reply is reported with its number, the others get theirs,
        and the status is 1.
        """
        _, port = self.misbehave(
            lambda datagram: [] if datagram == b"b" else [datagram.upper()]
        )
        arguments = ("-p", str(port), "-t", "0.05", "-r", "5")
        status, out, (error,) = await self.ask(*arguments, stdin=b"a\nb\nc\n")
        self.assertEqual((status, sorted(out.splitlines())), (1, [b"A", b"C"]))
        self.assertIn("line 2: no answer from ", error)

    async def test_duplicates(self) -> None:
        """
        Replies that arrive twice are printed once.
        """
        _, port = self.misbehave(lambda datagram: [datagram.upper()] * 2)
        lines = [b"%d" % number for number in range(200)]
        result = await self.ask("-p", str(port), stdin=b"\n".join(lines))
        status, out, errors = result
        self.assertEqual((status, errors), (0, []))
        self.assertEqual(sorted(out.splitlines()), sorted(lines))

    async def test_echo(self) -> None:
        """
        An echo server is given up on before all lines are sent.
        """
        peer, port = self.misbehave(lambda datagram: [datagram])
        arguments = ("-p", str(port), "-t", "0.3", "-r", "0")
        status, out, errors = await self.ask(*arguments, stdin=b"hello\n" * 1000)
        self.assertEqual((status, out), (1, b""))
        expected = f"127.0.0.1:{port} answered 'hello' instead of 'HELLO'"
        self.assertIn(expected, errors[0])
        self.assertIn("giving up", errors[-1])
        self.assertLess(len(peer.received), 1000)

    async def test_refused(self) -> None:
        """
        If nothing listens there, one line reports it, whatever the number of lines.
        """
        port = str(self.freePort())
        status, out, (error,) = await self.ask("-p", port, stdin=b"hello\n" * 1000)
        self.assertEqual((status, out), (1, b""))
        self.assertIn("refused", error)
