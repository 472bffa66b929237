"""
Whether UDP datagrams are received and sent in batches on this host.
"""

from __future__ import annotations

from unittest import skipUnless

from shout.udp.mmsg import available

needsBatches = skipUnless(
    available, "recvmmsg(2) is missing, or SHOUT_PURE_PYTHON is set"
)
