"""
Directories whose paths leave room for the name of a UNIX socket.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase


def shortDirectory(case: SynchronousTestCase) -> str:
    """
    Make a directory that is removed when the test ends.

    C{case.mktemp()} and C{TMPDIR} can make long paths, and the path of a socket has at
    most 107 bytes.
    """
    directory = os.path.realpath(tempfile.mkdtemp(prefix="shout", dir="/tmp"))
    case.addCleanup(shutil.rmtree, directory)
    return directory
