"""
The entry points of the commands C{shout} and C{shoutping}; C{python -m shout} is
C{shout}.
"""

# The part of signal that is written in C: importing signal itself takes a millisecond,
# in which Ctrl-C would print a traceback.
import _signal as signal  # type: ignore[import-not-found]
import gc
import sys

# Ctrl-C ends the process by SIGINT and without a traceback, so that a shell ends its
# loop around the command too.  This also covers the imports, which take most of the
# time to start, and the end, while Python finalizes.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# Imports leave next to no garbage.  Garbage collection is enabled before the command
# runs; see shout/cli/main.py.
gc.disable()


def main() -> int:
    from shout.cli.ask import ask
    from shout.cli.main import run
    from shout.cli.options import parse

    return run("shout", parse, ask)


def ping() -> int:
    from shout.cli.main import run
    from shout.cli.ping import ping
    from shout.cli.pingoptions import parse

    return run("shoutping", parse, ping)


if __name__ == "__main__":
    sys.exit(main())
