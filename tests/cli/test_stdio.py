"""
Tests for L{shout.cli.stdio}.
"""

from __future__ import annotations

import os
from io import FileIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, IReadWriteDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from shout.cli.stdio import Input, Line, LineSplitter, Output
from tests.asynccase import AsyncCase
from tests.properties import untimed


class LineSplitterTests(SynchronousTestCase):
    """
    Tests for L{LineSplitter}.
    """

    def split(self, *chunks: bytes, maxLength: int = 10) -> list[Line]:
        """
        Return the lines in some chunks.
        """
        splitter = LineSplitter(maxLength)
        lines = [line for chunk in chunks for line in splitter.feed(chunk)]
        return lines + splitter.finish()

    def test_lines(self) -> None:
        """
        Both kinds of line ends are removed, and no other bytes.
        """
        self.assertEqual(
            self.split(b"one\ntwo\r\n\r\r\n"),
            [Line(1, b"one", 3), Line(2, b"two", 3), Line(3, b"\r", 1)],
        )

    def test_empty(self) -> None:
        """
        An empty line counts as a line, but empty input has none.
        """
        self.assertEqual(self.split(b"\n\r\n"), [Line(1, b"", 0), Line(2, b"", 0)])
        self.assertEqual(self.split(), [])

    def test_unfinished(self) -> None:
        """
        The last line needs no end, and a carriage return alone does not end a line.
        """
        self.assertEqual(
            self.split(b"one\ntwo\r"), [Line(1, b"one", 3), Line(2, b"two\r", 4)]
        )

    def test_soon(self) -> None:
        """
        A line is returned as soon as its end arrives.
        """
        splitter = LineSplitter(10)
        self.assertEqual(splitter.feed(b"on"), [])
        self.assertEqual(splitter.feed(b"e\ntw"), [Line(1, b"one", 3)])

    def test_longest(self) -> None:
        """
        A line of the maximum length is kept whole, whatever its end.
        """
        whole = b"0123456789"
        self.assertEqual(
            self.split(whole + b"\r\n", whole + b"\n", whole),
            [Line(1, whole, 10), Line(2, whole, 10), Line(3, whole, 10)],
        )

    def test_tooLong(self) -> None:
        """
        A longer line is cut but has its length, and the next line is unchanged.
        """
        self.assertEqual(
            self.split(b"0123456789a\r\n", b"0123456789", b"abcdef\nok\n"),
            [
                Line(1, b"0123456789", 11),
                Line(2, b"0123456789", 16),
                Line(3, b"ok", 2),
            ],
        )

    def test_boundedMemory(self) -> None:
        """
        The bytes of a line beyond the maximum length are not kept.
        """
        splitter = LineSplitter(10)
        for _ in range(1000):
            splitter.feed(b"x" * 1000)
        self.assertLess(len(splitter._text), 12)
        self.assertEqual(splitter.finish(), [Line(1, b"x" * 10, 1000000)])

    @untimed
    @given(
        st.lists(st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n"])).map(b"".join))
    )
    def test_anyChunks(self, chunks: list[bytes]) -> None:
        """
        The lines are the same however the bytes are cut into chunks.
        """
        whole = b"".join(chunks)
        expected = whole.split(b"\n")
        last = expected.pop()
        expected = [line.removesuffix(b"\r") for line in expected]
        expected += [last] if last else []
        self.assertEqual(
            self.split(*chunks, maxLength=3),
            [
                Line(number, line[:3], len(line))
                for number, line in enumerate(expected, 1)
            ],
        )


class DescriptorCase(AsyncCase):
    """
    Makes descriptors that are closed when the test ends.
    """

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.ended: Deferred[Any] = Deferred()

    def pipe(self) -> tuple[FileIO, FileIO]:
        """
        Make a pipe, and return what reads from it and what writes to it.
        """
        fds = os.pipe()
        reading, writing = FileIO(fds[0], "r"), FileIO(fds[1], "w")
        self.addCleanup(reading.close)
        self.addCleanup(writing.close)
        return reading, writing

    def end(self, reason: Failure) -> None:
        """
        Called at the end of an L{Input}.
        """
        self.ended.callback(reason.value)


class InputTests(DescriptorCase):
    """
    Tests for L{Input}.
    """

    def read(self, fd: int) -> list[bytes]:
        """
        Start to read a descriptor.
        """
        chunks: list[bytes] = []
        Input(fd, chunks.append, self.end, self.reactor).resumeProducing()
        return chunks

    def test_interfaces(self) -> None:
        """
        An L{Input} is a descriptor for reactors, and a producer.
        """
        input = Input(0, lambda chunk: None, self.end, self.reactor)
        verifyObject(IReadWriteDescriptor, input)
        verifyObject(IPushProducer, input)

    async def test_pipe(self) -> None:
        """
        A pipe is read to its end, and stays in blocking mode.
        """
        reading, writing = self.pipe()
        writing.write(b"hello")
        writing.close()
        chunks = self.read(reading.fileno())
        self.assertIsInstance(await self.ended, ConnectionDone)
        self.assertEqual(b"".join(chunks), b"hello")
        self.assertTrue(os.get_blocking(reading.fileno()))

    async def test_file(self) -> None:
        """
        A file is read to its end.
        """
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"x" * 100000)
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        chunks = self.read(fd)
        self.assertIsInstance(await self.ended, ConnectionDone)
        self.assertEqual(b"".join(chunks), b"x" * 100000)

    async def test_nothing(self) -> None:
        """
        Reading the null device ends at once.
        """
        fd = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        chunks = self.read(fd)
        self.assertIsInstance(await self.ended, ConnectionDone)
        self.assertEqual(chunks, [])

    async def test_error(self) -> None:
        """
        A descriptor that cannot be read ends with the error.
        """
        fd = os.open(".", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.read(fd)
        self.assertIsInstance(await self.ended, IsADirectoryError)

    def test_nonBlocking(self) -> None:
        """
        A descriptor in non-blocking mode has not ended when there is nothing to read.
        """
        reading, _ = self.pipe()
        os.set_blocking(reading.fileno(), False)
        input = Input(reading.fileno(), self.fail, self.end, self.reactor)
        self.assertIsNone(input.doRead())


class OutputTests(DescriptorCase):
    """
    Tests for L{Output}.
    """

    def output(self, fd: int) -> Output:
        self.errors: list[str] = []
        return Output(fd, self.ended.callback, self.errors.append, self.reactor)

    def test_interfaces(self) -> None:
        """
        An L{Output} is a descriptor for reactors, and a consumer.
        """
        output = self.output(1)
        verifyObject(IReadWriteDescriptor, output)
        verifyObject(IConsumer, output)

    async def test_pipe(self) -> None:
        """
        Everything is written to a pipe before the end, and the pipe stays in blocking
        mode.
        """
        reading, writing = self.pipe()
        output = self.output(writing.fileno())
        output.write(b"hel")
        output.write(b"lo")
        output.finish()
        self.assertEqual(await self.ended, 0)
        self.assertEqual(reading.read(100), b"hello")
        self.assertTrue(os.get_blocking(writing.fileno()))

    async def test_slowReader(self) -> None:
        """
        More bytes than a pipe holds are written as its reader reads them, and the
        reactor does not block.
        """
        reading, writing = self.pipe()
        output = self.output(writing.fileno())
        output.write(b"x" * 1000000)
        output.finish()
        chunks: list[bytes] = []
        done: Deferred[None] = Deferred()
        reader = Input(
            reading.fileno(),
            chunks.append,
            lambda reason: done.callback(None),
            self.reactor,
        )
        reader.resumeProducing()
        await self.ended
        writing.close()
        await done
        self.assertEqual(b"".join(chunks), b"x" * 1000000)

    async def test_file(self) -> None:
        """
        Everything is written to a file before the end.
        """
        path = self.mktemp()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        output = self.output(fd)
        output.write(b"x" * 10000)
        output.finish()
        await self.ended
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"x" * 10000)

    async def test_error(self) -> None:
        """
        A descriptor that cannot be written to is reported, and the status is 1.
        """
        fd = os.open("/dev/full", os.O_WRONLY)
        self.addCleanup(os.close, fd)
        output = self.output(fd)
        output.write(b"x")
        self.assertEqual(await self.ended, 1)
        error = "cannot write to standard output: No space left on device"
        self.assertEqual(self.errors, [error])

    async def test_readerGone(self) -> None:
        """
        When the reader of a pipe has ended, the status is that of a process that
        SIGPIPE ended, and nothing is reported.
        """
        reading, writing = self.pipe()
        output = self.output(writing.fileno())
        reading.close()
        output.write(b"x")
        self.assertEqual((await self.ended, self.errors), (141, []))

    def test_full(self) -> None:
        """
        A descriptor in non-blocking mode has not ended when it is full.
        """
        _, writing = self.pipe()
        os.set_blocking(writing.fileno(), False)
        output = self.output(writing.fileno())
        while output.writeSomeData(b"x" * 4096):
            pass
        self.assertEqual(output.writeSomeData(b"x"), 0)
