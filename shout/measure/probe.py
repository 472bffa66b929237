"""
Probes, and the classification of replies to them.

A probe is text in lower case, so no reply to it equals it::

    kqzmwhvdax 000000000042 1c291ca3 the quick brown fox jumps over ...

The first word is a nonce, drawn for each run.  It distinguishes replies to this run
from those to others, and from forged ones by an attacker who has not seen a probe.
The second word is the number of the probe.  The third is a checksum (CRC-32) of the
first two, which reveals a damaged number.  Text fills the probe up to its size.
"""

from __future__ import annotations

import secrets
import string
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

_LETTERS = 10
_DIGITS = 12
_CHECKSUM_DIGITS = 8

MIN_SIZE = _LETTERS + 1 + _DIGITS + 1 + _CHECKSUM_DIGITS
"""
The size of the smallest probe, in bytes.
"""

_NUMBER = slice(_LETTERS + 1, _LETTERS + 1 + _DIGITS)
_CHECKSUM = slice(_NUMBER.stop + 1, MIN_SIZE)
_PADDING = b" the quick brown fox jumps over the lazy dog"

RIGHT = "right"
ECHOED = "echoed"
CORRUPTED = "corrupted"
OTHER_RUN = "of another run"
GARBAGE = "garbage"
ELSEWHERE = "from elsewhere"
WRONG = (ECHOED, CORRUPTED, OTHER_RUN, GARBAGE, ELSEWHERE)
"""
The kinds of wrong replies: the unchanged probe; the reply to a probe of this run, but
damaged; the reply to a probe of another run; anything else; the right reply, but from
another address than the probe was sent to.
"""


class Classification(NamedTuple):
    """
    The classification of a reply.

    @ivar kind: L{RIGHT} or one of L{WRONG}.

    @ivar number: Number in its flow of the probe it answers; C{None} if unknown.

    @ivar detail: The error, in a few words; empty for a right reply.
    """

    kind: str
    number: int | None
    detail: str = ""


class Probes:
    """
    The probes of one run, or those of one of its flows: with C{flows} flows, the flow
    C{index} has every C{flows}th probe.

    @ivar size: Size of each probe in bytes.

    @ivar nonce: The first word of each probe.
    """

    def __init__(
        self, size: int, nonce: bytes | None = None, index: int = 0, flows: int = 1
    ) -> None:
        """
        @param size: Size of each probe in bytes, at least L{MIN_SIZE}.

        @param nonce: Ten lower-case letters; random by default.

        @param index: Index of the flow, from 0.

        @param flows: Number of flows.

        @raise ValueError: If C{size} is too small.
        """
        if size < MIN_SIZE:
            raise ValueError(f"a probe has at least {MIN_SIZE} bytes, not {size}")
        self.size = size
        self.nonce = nonce or drawNonce()
        self._index, self._flows = index, flows
        self._start = self.nonce + b" %012d"
        self._padding, self._capitals = _paddings(size - MIN_SIZE)

    def make(self, number: int) -> bytes:
        """
        Return the probe with a number in its flow.  It contains the number in its run,
        in twelve digits.
        """
        start = self._start % ((number - 1) * self._flows + self._index + 1)
        return b"%b %08x%b" % (start, crc32(start), self._padding)

    def match(self, reply: bytes) -> int | None:
        """
        Return the number in its flow of the probe to which a reply is right, of which
        every byte is checked, or C{None} if there is none.
        """
        try:
            rounds, index = divmod(int(reply[_NUMBER]) - 1, self._flows)
        except ValueError:
            return None
        if index == self._index and reply == self.make(rounds + 1).upper():
            return rounds + 1
        return None

    def inRun(self, number: int) -> int:
        """
        Return the number in its run of the probe with a number in its flow; both are
        counted from 1.
        """
        return (number - 1) * self._flows + self._index + 1

    def numberOf(self, probe: bytes) -> int | None:
        """
        Return the number in its flow of a probe, of which at least the first two words
        are there, or C{None} if it is not one of this flow.
        """
        return self._parse(probe[_NUMBER]) if probe.startswith(self.nonce) else None

    def _parse(self, digits: bytes) -> int | None:
        if len(digits) != _DIGITS or not digits.isdigit():
            return None
        rounds, index = divmod(int(digits) - 1, self._flows)
        return rounds + 1 if index == self._index else None

    def isOfOtherRun(self, text: bytes) -> bool:
        """
        Return C{True} if a text is a probe of another run, or the reply to one, of
        which at least the first three words are there.
        """
        nonce = text[:_LETTERS].lower()
        return _isWhole(text) and nonce.isalpha() and nonce != self.nonce

    def classify(self, reply: bytes) -> Classification:
        """
        Classify a reply, of which every byte is checked.
        """
        number = self.match(reply)
        if number is not None:
            return Classification(RIGHT, number)
        number = self._parse(reply[_NUMBER])
        if number is None:
            return self._classifyDamaged(reply)
        probe = self.make(number)
        expected = probe.upper()
        if reply == probe:
            return Classification(ECHOED, number, "echoed unchanged")
        isCut = expected.startswith(reply)
        if isCut or reply[_CHECKSUM].lower() == probe[_CHECKSUM]:
            return Classification(CORRUPTED, number, _difference(reply, expected))
        return self._classifyDamaged(reply)

    def _classifyDamaged(self, reply: bytes) -> Classification:
        """
        Classify a reply with an unreliable number.
        """
        nonce = reply[:_LETTERS].lower()
        if self.isOfOtherRun(reply):
            run = nonce.decode("ascii")
            detail = f"answers a probe of another run, {run}"
            return Classification(OTHER_RUN, None, detail)
        if nonce == self.nonce and self._flows > 1 and _isWhole(reply):
            return Classification(GARBAGE, None, "answers a probe of another flow")
        padding = reply[MIN_SIZE:]
        isOurs = nonce == self.nonce or (
            len(reply) == self.size and padding and padding == self._capitals
        )
        if isOurs:
            length = "" if len(reply) == self.size else f", {len(reply)} bytes long"
            detail = f"corrupted in its number{length}"
            return Classification(CORRUPTED, None, detail)
        detail = f"not the answer to a probe: {_quote(reply)}"
        return Classification(GARBAGE, None, detail)


def _isWhole(text: bytes) -> bool:
    return text[_CHECKSUM].lower() == b"%08x" % crc32(text[: _NUMBER.stop].lower())


# The flows of a run share the text.
@lru_cache(maxsize=1)
def _paddings(length: int) -> tuple[bytes, bytes]:
    padding = (_PADDING * (length // len(_PADDING) + 1))[:length]
    return padding, padding.upper()


def drawNonce() -> bytes:
    """
    Return a random nonce for a run.
    """
    letters = string.ascii_lowercase
    return "".join(secrets.choice(letters) for _ in range(_LETTERS)).encode()


def _difference(reply: bytes, expected: bytes) -> str:
    """
    Describe the first difference from the expected reply, in bytes from 0.
    """
    shorter = min(len(reply), len(expected))
    offset = next((i for i in range(shorter) if reply[i] != expected[i]), shorter)
    text = f"corrupted at byte {offset}"
    if offset < shorter:
        text += f": {reply[offset]:#04x} instead of {expected[offset]:#04x}"
    if len(reply) != len(expected):
        text += f", {len(reply)} bytes instead of {len(expected)}"
    return text


def _quote(reply: bytes) -> str:
    if len(reply) <= 40:
        return repr(reply)[1:]
    return f"{repr(reply[:30])[1:]}... ({len(reply)} bytes)"
