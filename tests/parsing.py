"""
Parsed command lines of C{twistd shout}.
"""

from __future__ import annotations

from shout.options import Options


def parse(*args: str) -> Options:
    """
    Parse a command line.
    """
    options = Options()
    options.parseOptions(args)
    return options
