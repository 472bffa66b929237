"""
What is sent to measure, and what its reply has to be.

A probe is text in lower case, so that no reply to it equals it::

    kqzmwhvdax 000000000042 1c291ca3 the quick brown fox jumps over ...

The first word is a nonce, drawn for each run: it tells the replies of this run
from those of others, and from what somebody made up who has not seen a probe.
The number counts the probes.  The third word is a checksum of the first two
(CRC-32), which tells a damaged number from another one.  Text fills it up to the
size that is wanted.
"""

from __future__ import annotations

import secrets
import string
from typing import NamedTuple
from zlib import crc32

_LETTERS = 10
_DIGITS = 12
_NUMBER = slice(_LETTERS + 1, _LETTERS + 1 + _DIGITS)
_CHECKSUM = slice(_NUMBER.stop + 1, _NUMBER.stop + 9)

SMALLEST = _CHECKSUM.stop
"""
How many bytes a probe has at least.
"""

_FILLING = b" the quick brown fox jumps over the lazy dog"

RIGHT = "right"
ECHOED = "echoed"
CORRUPTED = "corrupted"
OTHER_RUN = "of another run"
GARBAGE = "garbage"
WRONG = (ECHOED, CORRUPTED, OTHER_RUN, GARBAGE)
"""
How a reply can be wrong: the probe came back as it was; it is one of ours but
not every byte is right; it answers a probe of another run; it is none of these.
"""


class Verdict(NamedTuple):
    """
    What a reply is.

    @ivar kind: L{RIGHT} or one of L{WRONG}.

    @ivar number: which probe it answers; L{None} when that cannot be told.

    @ivar detail: what is wrong, in a few words; empty when nothing is.
    """

    kind: str
    number: int | None
    detail: str = ""


class Probes:
    """
    The probes of one run.
    """

    def __init__(self, size: int, nonce: bytes | None = None) -> None:
        """
        @param size: how many bytes each has, at least L{SMALLEST}.

        @param nonce: ten lower-case letters; by default they are drawn.

        @raise ValueError: when C{size} is too small.
        """
        if size < SMALLEST:
            raise ValueError(f"a probe has at least {SMALLEST} bytes, not {size}")
        self.size = size
        self.nonce = nonce or _draw()
        self._start = self.nonce + b" %012d"
        room = size - SMALLEST
        self._filling = (_FILLING * (room // len(_FILLING) + 1))[:room]
        self._capitals = self._filling.upper()

    def make(self, number: int) -> bytes:
        """
        Return a probe.

        @param number: which, from 0; it is written with twelve digits.
        """
        start = self._start % number
        return b"%b %08x%b" % (start, crc32(start), self._filling)

    def recognise(self, probe: bytes) -> int | None:
        """
        Return the number of a probe of this run of which at least the first two
        words are there, or L{None}.
        """
        digits = probe[_NUMBER]
        isOurs = probe.startswith(self.nonce) and len(digits) == _DIGITS
        return int(digits) if isOurs and digits.isdigit() else None

    def isOfOtherRun(self, text: bytes) -> bool:
        """
        Whether a text is a probe of another run, or the reply to one, of which at
        least the first three words are there.
        """
        start = text[: _NUMBER.stop].lower()
        nonce = start[:_LETTERS]
        isWhole = text[_CHECKSUM].lower() == b"%08x" % crc32(start)
        return isWhole and nonce.isalpha() and nonce != self.nonce

    def classify(self, reply: bytes) -> Verdict:
        """
        Tell what a reply is.  Every byte of it is looked at.
        """
        digits = reply[_NUMBER]
        number = int(digits) if len(digits) == _DIGITS and digits.isdigit() else None
        if number is None:
            return self._classifyDamaged(reply)
        probe = self.make(number)
        expected = probe.upper()
        if reply == expected:
            return Verdict(RIGHT, number)
        if reply == probe:
            return Verdict(ECHOED, number, "echoed unchanged")
        isCut = expected.startswith(reply)
        if isCut or reply[_CHECKSUM].lower() == probe[_CHECKSUM]:
            return Verdict(CORRUPTED, number, _difference(reply, expected))
        return self._classifyDamaged(reply)

    def _classifyDamaged(self, reply: bytes) -> Verdict:
        """
        Tell what a reply is whose number cannot be relied upon.
        """
        nonce = reply[:_LETTERS].lower()
        if self.isOfOtherRun(reply):
            run = nonce.decode("ascii")
            return Verdict(OTHER_RUN, None, f"answers a probe of another run, {run}")
        filling = reply[SMALLEST:]
        isOurs = nonce == self.nonce or (
            len(reply) == self.size and filling and filling == self._capitals
        )
        if isOurs:
            length = "" if len(reply) == self.size else f", {len(reply)} bytes long"
            return Verdict(CORRUPTED, None, f"corrupted in its number{length}")
        return Verdict(GARBAGE, None, f"not the answer to a probe: {_show(reply)}")


def _draw() -> bytes:
    letters = string.ascii_lowercase
    return "".join(secrets.choice(letters) for _ in range(_LETTERS)).encode()


def _difference(reply: bytes, expected: bytes) -> str:
    """
    Say where a reply first differs from what it should be, in bytes from 0.
    """
    shorter = min(len(reply), len(expected))
    offset = next((i for i in range(shorter) if reply[i] != expected[i]), shorter)
    text = f"corrupted at byte {offset}"
    if offset < shorter:
        text += f": {reply[offset]:#04x} instead of {expected[offset]:#04x}"
    if len(reply) != len(expected):
        text += f", {len(reply)} bytes instead of {len(expected)}"
    return text


def _show(reply: bytes) -> str:
    if len(reply) <= 40:
        return repr(reply)[1:]
    return f"{repr(reply[:30])[1:]}... ({len(reply)} bytes)"
