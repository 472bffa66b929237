"""
A UDP service that answers every datagram with its text in capitals.
"""

from shout.client import AskError, NoAnswer, Refused, WrongAnswer, ask
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets import BindError, bindUDP, bindUNIX

__version__ = "0.1.0"

__all__ = [
    "AskError",
    "BindError",
    "NoAnswer",
    "Refused",
    "Shout",
    "ShoutService",
    "UnicodeShout",
    "WrongAnswer",
    "ask",
    "bindUDP",
    "bindUNIX",
]
