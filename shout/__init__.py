"""
A UDP service that answers every datagram with its text in capitals.
"""

from shout.answering import AnsweringProtocol
from shout.batched import BatchedPort, listen
from shout.client import AskError, NoAnswer, Refused, WrongAnswer, ask
from shout.guard import Guard
from shout.ping import ping
from shout.protocol import Shout, UnicodeShout
from shout.service import ShoutService
from shout.sockets import BindError, bindUDP, bindUNIX

__version__ = "0.1.0"

__all__ = [
    "AnsweringProtocol",
    "AskError",
    "BatchedPort",
    "BindError",
    "Guard",
    "NoAnswer",
    "Refused",
    "Shout",
    "ShoutService",
    "UnicodeShout",
    "WrongAnswer",
    "ask",
    "bindUDP",
    "bindUNIX",
    "listen",
    "ping",
]
