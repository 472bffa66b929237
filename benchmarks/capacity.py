"""
C{python -m benchmarks.capacity} prints the tables of C{docs/scaling.md}, computed from
the figures of C{docs/speed.md}: those of C{shout} in the table that C{python -m
benchmarks --markdown} prints::

    | CPU per reply, in µs (ratio to c-same) | crowd 32 | crowd 1,400 | stream 32 | ...
    | --- | --- | --- | --- | ...
    | shout | 2.31 (1.25) | 2.82 (1.33) | 1.68 (0.98) | ...
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

    @return: Microseconds of CPU per reply, by the size of the datagram: for bursts from
        one peer, and for consecutive datagrams from different peers.
    """
    table = re.search(r"^\|.*\| crowd 32 \|.*(\n\|.*)+", speed, re.MULTILINE)
    assert table is not None
    lines = [line.split("|")[1:-1] for line in table[0].split("\n")]
    head, *rows = ([cell.strip() for cell in line] for line in lines)
    row = dict(zip(head, next(row for row in rows if row[0] == "shout")))
    return {
        size: (cost(row[f"stream {size:,}"]), cost(row[f"crowd {size:,}"]))
        for size in (32, 1400)
    }


def cost(cell: str) -> float:
    return float(cell.partition("(")[0])


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
