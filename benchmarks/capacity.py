"""
C{python -m benchmarks.capacity} prints the tables of C{docs/scaling.md}, computed from
the figures of C{docs/speed.md}.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SPEED = Path(__file__).parent.parent / "docs" / "speed.md"

# Ethernet's preamble, header, checksum and gap (IEEE 802.3), IPv4's header
# (RFC 791) and UDP's (RFC 768), in bytes.
HEADERS = 8 + 14 + 4 + 12 + 20 + 8

LINKS = {"1 Gbit/s": 1e9, "10 Gbit/s": 10e9, "25 Gbit/s": 25e9, "100 Gbit/s": 100e9}


def costs(speed: str) -> dict[int, tuple[float, float]]:
    """
    Read the CPU per reply.

    @param speed: The text of C{docs/speed.md}.

    @return: Microseconds of CPU per reply, by the size of the datagram: for consecutive
        datagrams from one peer, and for consecutive datagrams from different peers.
    """
    row = re.search(r"^\| shout with its guard \|(.*)\|$", speed, re.MULTILINE)
    assert row is not None
    figures = [float(cell.split("(")[0]) for cell in row[1].split("|")]
    return {32: (figures[0], figures[1]), 1400: (figures[2], figures[3])}


def oneWorker(speed: str) -> str:
    """
    Return the table of replies per second on one core.
    """
    lines = [
        "| payload | many in a row from each peer | each from a different peer |",
        "| --- | --- | --- |",
    ]
    for size, both in costs(speed).items():
        cells = (f"{1e6 / cost:,.0f} ({cost} µs each)" for cost in both)
        lines.append(f"| {size:,} bytes | {' | '.join(cells)} |")
    return "\n".join(lines)


def links(speed: str) -> str:
    """
    Return the table of datagrams per second on a link, and of the cores they need.
    """
    lines = [
        "| link | payload | datagrams per second, each way | cores needed |",
        "| --- | --- | --- | --- |",
    ]
    for name, bits in LINKS.items():
        for size, (cheap, dear) in costs(speed).items():
            rate = bits / 8 / (size + HEADERS)
            cores = f"{rate * cheap / 1e6:.1f} to {rate * dear / 1e6:.1f}"
            lines.append(f"| {name} | {size:,} bytes | {rate:,.0f} | {cores} |")
    return "\n".join(lines)


def main() -> int:
    """
    Print the tables.
    """
    speed = SPEED.read_text()
    print(oneWorker(speed), links(speed), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
