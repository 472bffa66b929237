"""
UDP and UNIX datagram sockets: their addresses, and how they are bound and inherited.
"""
