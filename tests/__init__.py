"""
Tests for shout.
"""

import re
import sys
import warnings
from pathlib import Path

if sys.flags.dev_mode:
    # A warning from our own code fails the test.  Otherwise trial -j writes it to a
    # file only.  Twisted reports warnings with the path as the name of the module.
    _root = re.escape(str(Path(__file__).parent.parent))
    warnings.filterwarnings("error", module=f"{_root}/(shout|tests|benchmarks)/")
