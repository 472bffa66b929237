"""
Measure shout beside other servers that do the same; see L{main}.
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
    machine,
    summarize,
    table,
    writeJSON,
)
from benchmarks.servers import SERVERS, Failed, Missing, also
from shout.udp import mmsg

HELP = """\
Measures shout, as twistd starts it, beside other servers that answer in capitals,
in turn and repeatedly, each alone on a core, and the load on another.  Two workers
have two cores where there is a third one for the load, and else share one.  Every
reply is checked.  The table goes to standard output.

loads:
  stream    one client: 128 datagrams under way over four sockets
  crowd     256 clients that ask in turn: one datagram under way each
  ping      one datagram under way: the round trip
"""

EXAMPLES = """\
examples:
  python -m benchmarks --quick
  python -m benchmarks --json figures.json --plot figures.svg
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
    add("--rounds", type=rounds, help="how often to measure each server [5]")
    add("--seconds", type=seconds, help="how long, each time [1]")
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
        help="one more server; {port} in its command stands for the port",
    )
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--plot", type=Path, metavar="FILE", help="draw them there (needs matplotlib)")
    options = parser.parse_args(arguments)
    usual = (
        (2, 0.3, [32, 1400]) if options.quick else (5, 1.0, [0, 32, 512, 1400, 8000])
    )
    for name, value in zip(("rounds", "seconds", "sizes"), usual):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Measure, and print the table.

    @return: the exit status: 1 when a reply was wrong or a server failed.
    """
    options = parse(arguments)
    if not mmsg.available:
        sys.exit("the load needs recvmmsg(2) and sendmmsg(2), as Linux has them")
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    measurements: list[Measurement] = []
    status = 0
    with TemporaryDirectory(prefix="shout-benchmarks-") as name:
        commands = prepare(options, Path(name))
        total = len(commands) * len(options.sizes) * len(options.loads) * options.rounds
        seconds = total * (options.seconds + WARM_UP + 0.1)
        say(f"{total} measurements, about {seconds:.0f} seconds")
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
                for one in running:
                    measurements.append(one)
                    say(progress(one))
                    if one.figures.get("wrong"):
                        status = 1
        except Failed as e:
            say(str(e))
            status = 1
        except KeyboardInterrupt:
            say("stopped")
            status = 128 + signal.SIGINT

    if not measurements:
        return status
    where, summary = machine(), summarize(measurements)
    print(describe(where))
    print(table(summary))
    if options.json:
        writeJSON(options.json, where, measurements)
    if options.plot:
        draw(options.plot, where, summary)
    return status


def prepare(options: Namespace, folder: Path) -> dict[str, list[str]]:
    """
    Find out how to start the servers, and say which cannot be.
    """
    chosen = {name: SERVERS[name] for name in options.servers}
    commands = {}
    for name, command in {**chosen, **dict(options.also)}.items():
        try:
            commands[name] = command(folder)
        except Missing as e:
            say(f"skipping {name}: {e}")
    return commands


def progress(one: Measurement) -> str:
    """
    Say in one line what was measured.
    """
    figures = one.figures
    line = f"round {one.round + 1}  {one.load:7} {one.size:5}  {one.server:13}"
    if one.load == "memory":
        return f"{line}{figures['rss']:9.1f} MiB"
    if not figures:
        return f"{line}no reply"
    line += f"{figures['cpu']:9.2f} µs {figures['rate']:11,.0f}/s"
    if figures["wrong"]:
        line += f"  {figures['wrong']:.0f} WRONG, such as {one.example}"
    return line


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
