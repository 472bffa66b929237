"""
C{python -m shout}, and what the C{shout} command runs.
"""

# The part of signal that is written in C: to import signal itself takes a millisecond,
# in which Ctrl-C would print a traceback.
import _signal as signal  # type: ignore[import-not-found]
import sys

# Ctrl-C ends the process as it ends most others, so that a shell's loop around it
# ends too, and without a traceback: also during the imports, which take most of the
# time that the command takes to start, and while Python finalizes.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from shout.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
