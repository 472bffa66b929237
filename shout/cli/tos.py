"""
The type of service of IPv4, and the traffic class of IPv6: six bits of DSCP (RFC 2474)
and two of ECN (RFC 3168).
"""

from __future__ import annotations

from collections.abc import Callable

from shout.cli.usage import number

# RFC 2474, RFC 2597, RFC 3246, RFC 5865 and RFC 8622.
_CODE_POINTS = {
    "BE": 0,
    "DF": 0,
    "LE": 1,
    **{f"CS{number}": 8 * number for number in range(8)},
    **{
        f"AF{high}{low}": 8 * high + 2 * low
        for high in range(1, 5)
        for low in (1, 2, 3)
    },
    "VA": 44,
    "EF": 46,
}

_NAMES = {codePoint: name for name, codePoint in _CODE_POINTS.items() if codePoint}

_ECN = ("not ECT", "ECT(1)", "ECT(0)", "CE")


def parseTOS(text: str) -> int:
    """
    Return the type of service for a number from 0 to 255, which may be hexadecimal, or
    for the name of a DSCP.

    @raise UsageError: If it is neither.
    """
    codePoint = _CODE_POINTS.get(text.upper())
    if codePoint is not None:
        return codePoint << 2
    kind = "the name of a DSCP such as EF, AF41 or CS6, or a number"
    parse: Callable[[str], int] = number("--tos", kind, _parseInteger, 0, 255)
    return parse(text)


def _parseInteger(text: str) -> int:
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def dscpOf(tos: int) -> int:
    """
    Return the DSCP in a type of service.
    """
    return tos >> 2


def dscpInWords(dscp: int) -> str:
    """
    Return a DSCP as a number and by name: C{46 (EF)}.
    """
    name = _NAMES.get(dscp)
    return str(dscp) if name is None else f"{dscp} ({name})"


def ecnOf(tos: int) -> int:
    """
    Return the two bits of ECN in a type of service.
    """
    return tos & 3


def ecnInWords(ecn: int) -> str:
    """
    Return the bits of ECN as a number and by name: C{3 (CE)}.
    """
    return f"{ecn} ({_ECN[ecn]})"
