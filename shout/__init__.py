"""
A UDP service that answers every datagram with its text in capitals.
"""

# True for type checkers.  Importing typing would take longer than this whole module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from shout.client import AskError, NoAnswer, Refused, WrongAnswer, ask
    from shout.guard import Guard
    from shout.measure import ping
    from shout.protocol import Responder, Shout, UnicodeShout
    from shout.service import ShoutService
    from shout.sockets.bind import BindError, bindUDP
    from shout.sockets.unix import bindUNIX
    from shout.udp import BatchedPort, BatchResponder, listen

__version__ = "0.1.0"

__all__ = [
    "AskError",
    "BatchResponder",
    "BatchedPort",
    "BindError",
    "Guard",
    "NoAnswer",
    "Refused",
    "Responder",
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

_MODULES = {
    "BatchResponder": "udp.responder",
    "AskError": "client",
    "BatchedPort": "udp.batched",
    "BindError": "sockets.bind",
    "Guard": "guard",
    "NoAnswer": "client",
    "Refused": "client",
    "Responder": "protocol",
    "Shout": "protocol",
    "ShoutService": "service",
    "UnicodeShout": "protocol",
    "WrongAnswer": "client",
    "ask": "client",
    "bindUDP": "sockets.bind",
    "bindUNIX": "sockets.unix",
    "listen": "udp.listening",
    "ping": "measure",
}


# Each name is imported when it is first used (PEP 562).  So a server does not load
# the client, and a command sets up its signals before anything that takes time is
# imported; see shout/__main__.py.  Type checkers know the names from above.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
