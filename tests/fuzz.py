"""
The command that looks for bytes that do harm: C{python -m tests.fuzz}.

It runs L{fuzzOne<tests.fuzzed.fuzzOne>} under atheris, of the extra C{fuzz}, which
mutates bytes so that they reach code that no others have reached.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import ArgumentParser
from importlib import import_module
from importlib.util import find_spec


def main() -> None:
    """
    Run the command.  It does not return: atheris ends the process, with status 0
    when nothing was found, else with what was found printed and kept in a file.
    """
    parser = ArgumentParser("python -m tests.fuzz", description=main.__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long [60]")
    parser.add_argument(
        "--if-installed", action="store_true", help="without atheris, exit with 0"
    )
    options = parser.parse_args()
    if options.seconds < 1:
        parser.error(f"--seconds takes a number from 1 on, not {options.seconds}")
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris", flush=True)
        sys.exit(0 if options.if_installed else 2)
    atheris = import_module("atheris")
    # What runs has to be imported under its eyes.
    with atheris.instrument_imports(include=["shout", "tests.fuzzed"]):
        fuzzed = import_module("tests.fuzzed")
    found = os.path.join(tempfile.gettempdir(), "shout-fuzz-")
    flags = [
        f"-max_total_time={options.seconds}",
        "-max_len=512",
        # Long ones from the beginning.
        "-len_control=0",
        "-timeout=10",
        f"-artifact_prefix={found}",
    ]
    atheris.Setup(["fuzz", *flags], fuzzed.fuzzOne)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
