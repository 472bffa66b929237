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

from benchmarks.load import LOADS
from benchmarks.measure import WARM_UP, measure
from benchmarks.plot import draw
from benchmarks.report import (
    Measurement,
    describe,
    describeMachine,
    summarize,
    table,
    writeJSON,
)
from benchmarks.servers import SERVERS, Failed, Missing, also
from shout.udp import mmsg

HELP = """\
Compares shout, as twistd starts it, with other servers that answer in capitals.
The servers are measured in turn and repeatedly, each alone on one core, with the load
generator on another core.  Two workers get two cores if there is a third one for the
load generator, and otherwise share one.  Every reply is checked.  The table goes to
standard output.

loads:
  stream    one client: 128 datagrams in flight over four sockets
  crowd     256 clients in turn: one datagram in flight each
  ping      one datagram in flight: the round trip
"""

EXAMPLES = """\
examples:
  python -m benchmarks --quick
  python -m benchmarks --json results.json --plot results.svg
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

    def sizes(text: str) -> list[int]:
        sizes = [int(size) for size in text.split(",")]
        if not all(0 <= size <= 65507 for size in sizes):
            raise ValueError(text)
        return sizes

    def rounds(text: str) -> int:
        if int(text) < 1:
            raise ValueError(text)
        return int(text)

    def seconds(text: str) -> float:
        if not 0 < float(text) <= 3600:
            raise ValueError(text)
        return float(text)

    add = parser.add_argument
    add("--quick", action="store_true", help="2 rounds of 0.3 s, and fewer sizes")
    add("--rounds", type=rounds, help="number of rounds [5]")
    add("--seconds", type=seconds, help="seconds per measurement [1]")
    add("--sizes", type=sizes, help="bytes per datagram [0,32,512,1400,8000]")
    add(
        "--loads",
        type=names(LOADS),
        default=list(LOADS),
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
    add("--json", type=Path, metavar="FILE", help="write all values to FILE")
    add(
        "--plot", type=Path, metavar="FILE", help="draw them to FILE (needs matplotlib)"
    )
    options = parser.parse_args(arguments)
    defaults = (
        (2, 0.3, [32, 1400]) if options.quick else (5, 1.0, [0, 32, 512, 1400, 8000])
    )
    for name, value in zip(("rounds", "seconds", "sizes"), defaults):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure, and print the table.

    @return: The exit status: 1 if a reply was wrong or a server failed.
    """
    options = parse(arguments)
    if not mmsg.available:
        sys.exit(
            "the load generator needs recvmmsg(2) and sendmmsg(2), which only Linux has"
        )
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    measurements: list[Measurement] = []
    status = 0
    with TemporaryDirectory(prefix="shout-benchmarks-") as name:
        commands = prepare(options, Path(name))
        total = len(commands) * len(options.sizes) * len(options.loads) * options.rounds
        seconds = total * (options.seconds + WARM_UP + 0.1)
        writeLine(f"{total} measurements, about {seconds:.0f} seconds")
        running = measure(
            commands,
            Path(name),
            {load: LOADS[load] for load in options.loads},
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
    if options.json:
        writeJSON(options.json, machine, measurements)
    if options.plot:
        draw(options.plot, machine, summary)
    return status


def prepare(options: Namespace, directory: Path) -> dict[str, list[str]]:
    """
    Return the command lines of the servers, without those that cannot be started.
    """
    chosen = {name: SERVERS[name] for name in options.servers}
    commands = {}
    for name, command in {**chosen, **dict(options.also)}.items():
        try:
            commands[name] = command(directory)
        except Missing as e:
            writeLine(f"skipping {name}: {e}")
    return commands


def describeProgress(measurement: Measurement) -> str:
    """
    Return a measurement as one line.
    """
    values = measurement.values
    line = f"round {measurement.round + 1}  "
    line += f"{measurement.load:7} {measurement.size:5}  {measurement.server:13}"
    if measurement.load == "memory":
        return f"{line}{values['rss']:9.1f} MiB"
    if not values:
        return f"{line}no reply"
    line += f"{values['cpu']:9.2f} µs {values['rate']:11,.0f}/s"
    if values["wrong"]:
        line += f"  {values['wrong']:.0f} WRONG, such as {measurement.example}"
    return line


def writeLine(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
