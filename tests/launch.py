"""
Start a program as systemd does, with sockets: C{python launch.py NAMES FDS COMMAND}.
"""

import os
import sys
from fcntl import F_DUPFD, fcntl

# Above all descriptors that are used below.
HIGH = 100

if __name__ == "__main__":
    names, numbers, *command = sys.argv[1:]
    sockets = [fcntl(int(number), F_DUPFD, HIGH) for number in numbers.split(",")]
    for place, sock in enumerate(sockets, 3):
        os.dup2(sock, place)
    os.closerange(3 + len(sockets), 2 * HIGH)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sockets))
    os.environ.pop("LISTEN_FDNAMES", None)
    if names:
        os.environ["LISTEN_FDNAMES"] = names
    os.execv(command[0], command)
