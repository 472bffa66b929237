"""
C{python -m shout}: the same as the C{shout} command.
"""

import sys

from shout.cli import main

sys.exit(main())
