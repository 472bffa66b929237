"""
Fuzzing: C{python -m tests.fuzz}.

Runs L{fuzzOne<tests.fuzzed.fuzzOne>} under atheris, of the extra C{fuzz}, which mutates
inputs so that they reach code that no other input has reached.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from importlib import import_module
from importlib.util import find_spec

HELP = """\
Feed arbitrary bytes to all code that reads bytes from the network, until an input
breaks an invariant or the time is over.  Such an input is printed and saved in a file,
and the exit status is not 0.
"""


def main() -> None:
    """
    Run the command.

    It does not return: atheris ends the process.
    """
    parser = ArgumentParser("python -m tests.fuzz", description=HELP)
    parser.add_argument("--seconds", type=int, default=60, help="duration [60]")
    parser.add_argument(
        "--if-installed", action="store_true", help="exit with 0 if atheris is missing"
    )
    options = parser.parse_args()
    if options.seconds < 1:
        parser.error(f"--seconds must be 1 or more, not {options.seconds}")
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris", flush=True)
        sys.exit(0 if options.if_installed else 2)
    atheris = import_module("atheris")
    # Only modules imported in here report their coverage.
    with atheris.instrument_imports(include=["shout", "tests.fuzzed"]):
        fuzzed = import_module("tests.fuzzed")
    prefix = os.path.join(tempfile.gettempdir(), "shout-fuzz-")
    flags = [
        f"-max_total_time={options.seconds}",
        "-max_len=512",
        # Long inputs from the beginning.
        "-len_control=0",
        "-timeout=10",
        f"-artifact_prefix={prefix}",
    ]
    atheris.Setup(["fuzz", *flags], fuzzed.fuzzOne)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
