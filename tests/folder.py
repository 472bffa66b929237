"""
A folder whose path leaves room for the name of a UNIX socket.
"""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase


def shortFolder(case: SynchronousTestCase) -> str:
    """
    Make a folder that is removed when the test ends.

    C{case.mktemp()} makes long paths, and a socket's has at most 107 bytes.
    """
    folder = os.path.realpath(tempfile.mkdtemp(prefix="shout"))
    case.addCleanup(shutil.rmtree, folder)
    return folder
