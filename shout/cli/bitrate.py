"""
Rates in bits per second, of IP packets with their headers.
"""

from __future__ import annotations

from collections.abc import Callable

from shout.cli.usage import UsageError, number

_FACTORS = {"k": 10**3, "m": 10**6, "g": 10**9}
_MOST = 10**12

# Of datagrams per second.
_LOWEST_RATE, _HIGHEST_RATE = 0.001, 1_000_000


def parseBitrate(text: str) -> float:
    """
    Return the bits per second for a number that may end in C{k}, C{M} or C{G}.

    @raise UsageError: If it is none.
    """
    kind = "a number of bits per second such as 100M,"
    parse: Callable[[str], float] = number("--bitrate", kind, _convert, 1, _MOST)
    return parse(text)


def _convert(text: str) -> float:
    factor = _FACTORS.get(text[-1:].lower())
    return float(text) if factor is None else float(text[:-1]) * factor


def intervalOf(bitrate: float, length: int) -> float:
    """
    Return the seconds from one packet to the next at a rate.

    @param bitrate: The rate in bits per second.

    @param length: Length of each packet in bytes.

    @raise UsageError: If the packets would be too many or too few.
    """
    rate = bitrate / (8 * length)
    limit = ""
    if rate > _HIGHEST_RATE:
        limit = f"{rate:,.0f} datagrams per second here, and the most is "
        limit += f"{_HIGHEST_RATE:,}; use larger ones"
    elif rate < _LOWEST_RATE:
        limit = f"{rate:.1g} datagrams per second here, and the least is "
        limit += f"{_LOWEST_RATE}; use smaller ones"
    if limit:
        raise UsageError(f"--bitrate takes {limit} with -s")
    return 1 / rate


def bitrateInWords(bitrate: float) -> str:
    """
    Return a rate with three or four significant digits and its unit.
    """
    for factor, unit in ((10**9, "Gbit/s"), (10**6, "Mbit/s"), (10**3, "kbit/s")):
        if bitrate >= factor:
            return f"{bitrate / factor:.4g} {unit}"
    return f"{bitrate:.4g} bit/s"
