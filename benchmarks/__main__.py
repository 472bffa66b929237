"""
Compare shout with other servers that do the same; see L{main}.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load import CLOSED, MIN_ARRIVALS, RATES, openLoops
from benchmarks.measure import measure
from benchmarks.plot import draw
from benchmarks.report import (
    Measurement,
    describe,
    describeMachine,
    markdown,
    summarize,
    table,
    writeJSON,
)
from benchmarks.servers import SERVERS, Failed, Missing, also, build, prepare

LOADS = [*CLOSED, "open"]

HELP = """\
Compares shout, as twistd starts it, with other servers that answer in capitals.
The servers are measured in turn and repeatedly, each alone on one core, with the load
generator on another core.  Two workers get two cores if there is a third one for the
load generator, and otherwise share one.  Every datagram is sent by its own system call
from one of many sockets, and every reply is checked.  The table goes to standard
output.

loads:
  crowd     256 clients in turn: one datagram in flight each
  stream    128 datagrams in flight over 4 sockets
  8x4       8 clients with 4 datagrams in flight each
  32x1      32 clients with one datagram in flight each
  ping      one client with one datagram in flight
  open      64 clients whose datagrams arrive at random (Poisson), at the given rates

servers:
  shout     twistd shout with its default options, and with workers
  batched   its protocol on the batched port of shout.udp
  portable  its protocol on the portable port of shout.udp
  twisted   its protocol on Twisted's own port
  loop      six lines: recvfrom(), upper(), sendto()
  asyncio, uvloop
            a protocol of asyncio, with its own loop and with uvloop's
  socketserver
            a socketserver.UDPServer
  c         C: recvfrom(), sendto()
  c-same    C, the same job as shout: epoll, recvmmsg(), sendmmsg(), IP_PKTINFO
"""

EXAMPLES = """\
examples:
  python -m benchmarks --quick
  python -m benchmarks --json results.json --plot results.svg
  python -m benchmarks --servers shout,twisted,c --loads crowd,open --rates 5000,50000
  python -m benchmarks --servers shout,c --also 'other=./other --port {port}'
"""


def parse(arguments: Sequence[str] | None) -> Namespace:
    """
    Parse the command line.
    """
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )

    def names(known: Iterable[str]) -> Callable[[str], list[str]]:
        def names(text: str) -> list[str]:
            if set(text.split(",")).difference(known):
                raise ValueError(text)
            return [name for name in known if name in text.split(",")]

        return names

    def integers(least: int, most: int) -> Callable[[str], list[int]]:
        def integers(text: str) -> list[int]:
            values = [int(value) for value in text.split(",")]
            if not all(least <= value <= most for value in values):
                raise ValueError(text)
            return values

        return integers

    def rounds(text: str) -> int:
        if int(text) < 1:
            raise ValueError(text)
        return int(text)

    def seconds(text: str) -> float:
        if not 0 < float(text) <= 3600:
            raise ValueError(text)
        return float(text)

    add = parser.add_argument
    add("--quick", action="store_true", help="2 rounds of 0.3 s, and 2 rates")
    add("--rounds", type=rounds, help="number of rounds [5]")
    add("--seconds", type=seconds, help="seconds per measurement, at least [1]")
    add(
        "--sizes",
        type=integers(8, 65507),
        default=[32, 1400],
        help="bytes per datagram; open loops have only the first [32,1400]",
    )
    add(
        "--rates",
        type=integers(1, 1_000_000),
        help=f"datagrams per second of open loops [{','.join(map(str, RATES))}]",
    )
    add(
        "--loads",
        type=names(LOADS),
        default=LOADS,
        help=f"[{','.join(LOADS)}]",
    )
    add(
        "--servers",
        type=names(SERVERS),
        default=list(SERVERS),
        help=f"[{','.join(SERVERS)}]",
    )
    add(
        "--also",
        type=also,
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure another server as well; its command contains {port}",
    )
    add("--markdown", action="store_true", help="print the CPU times in Markdown, too")
    add("--json", type=Path, metavar="FILE", help="write all values to FILE")
    add(
        "--plot", type=Path, metavar="FILE", help="draw them to FILE (needs matplotlib)"
    )
    options = parser.parse_args(arguments)
    defaults = (2, 0.3, [5000, 50000]) if options.quick else (5, 1.0, RATES)
    for name, value in zip(("rounds", "seconds", "rates"), defaults):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure, and print the table.

    @return: The exit status: 1 if a reply was wrong or a server failed.
    """
    options = parse(arguments)
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    measurements: list[Measurement] = []
    status = 0
    loads = {name: CLOSED[name] for name in options.loads if name in CLOSED}
    if "open" in options.loads:
        loads.update(openLoops(options.rates))
    with TemporaryDirectory(prefix="shout-benchmarks-") as name:
        try:
            program = build("load", Path(name))
        except Missing as e:
            sys.exit(f"the load generator: {e}")
        chosen = {name: SERVERS[name] for name in options.servers}
        commands = prepare({**chosen, **dict(options.also)}, Path(name))
        total = sum(
            max(options.seconds, MIN_ARRIVALS / load.rate) + 0.3
            if load.rate
            else (options.seconds + 0.3) * len(options.sizes)
            for load in loads.values()
        )
        total *= len(commands) * options.rounds
        writeLine(f"about {total / 60:.0f} minutes")
        running = measure(
            program,
            commands,
            Path(name),
            loads,
            options.sizes,
            options.rounds,
            options.seconds,
        )
        try:
            with closing(running):
                for each in running:
                    measurements.append(each)
                    writeLine(describeProgress(each))
                    if each.values.get("wrong"):
                        status = 1
        except Failed as e:
            writeLine(str(e))
            status = 1
        except KeyboardInterrupt:
            writeLine("stopped")
            status = 128 + signal.SIGINT

    if not measurements:
        return status
    machine, summary = describeMachine(), summarize(measurements)
    print(describe(machine))
    print(table(summary))
    if options.markdown:
        closed = [load for load in loads if load in CLOSED]
        opened = [load for load in loads if load not in CLOSED]
        for names, value, label, base in (
            (closed, "cpu", "CPU per reply, in µs", "c-same"),
            (opened, "cpu", "CPU per reply, in µs", "twisted"),
            (opened, "due_p50", "median round trip, in µs", "twisted"),
        ):
            print()
            print(markdown(summary, names, value, f"{label} (ratio to {base})", base))
    if options.json:
        writeJSON(options.json, machine, measurements)
    if options.plot:
        draw(options.plot, machine, summary)
    return status


def describeProgress(measurement: Measurement) -> str:
    """
    Return a measurement as one line.
    """
    values = measurement.values
    line = f"round {measurement.round + 1}  "
    line += f"{measurement.load:11} {measurement.size:5}  {measurement.server:15}"
    if measurement.load == "memory":
        return f"{line}{values['rss']:9.1f} MiB"
    if not values:
        return f"{line}no reply"
    line += f"{values['cpu']:9.2f} µs {values['rate']:11,.0f}/s"
    if values["lost"]:
        line += f"  {values['lost']:.0f} lost"
    if values["wrong"]:
        line += f"  {values['wrong']:.0f} WRONG, such as {measurement.example}"
    return line


def writeLine(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
