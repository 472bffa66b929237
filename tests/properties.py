"""
Settings of Hypothesis for tests of properties.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""
No limits on elapsed time, so that a test does not fail on a busy machine.

This is a decorator, to be written above C{@given}.
"""
