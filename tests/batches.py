"""
Whether UDP datagrams are received and sent in batches on this host.
"""

from __future__ import annotations

from unittest import skipUnless

from shout.udp.batched import available

needsBatches = skipUnless(
    available, "the C extension is not built, or SHOUT_PURE_PYTHON is set"
)
