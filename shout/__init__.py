"""
A UDP service that answers every datagram with its text in capitals.
"""

from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets import BindError, bindUDP, bindUNIX

__version__ = "0.1.0"

__all__ = [
    "BindError",
    "Shout",
    "ShoutService",
    "UnicodeShout",
    "bindUDP",
    "bindUNIX",
]
