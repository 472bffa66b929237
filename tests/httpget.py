"""
HTTP requests to the status of a server.
"""

from __future__ import annotations

import socket
from http.client import HTTPConnection

from prometheus_client.parser import text_string_to_metric_families

from tests.twistdcase import TIMEOUT


def get(where: int | str, path: str) -> tuple[int, str]:
    """
    Request a page of a server.

    @param where: A port on the loopback, or the path of a UNIX socket.

    @return: The status code and the body.
    """
    connection = HTTPConnection("127.0.0.1", where if isinstance(where, int) else 1)
    if isinstance(where, str):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(TIMEOUT)
        connection.sock.connect(where)
    try:
        connection.timeout = TIMEOUT
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def received(where: int | str) -> dict[str, float]:
    """
    Return the numbers of datagrams in the metrics of a server, by family.
    """
    [family] = [
        family
        for family in text_string_to_metric_families(get(where, "/metrics")[1])
        if family.name == "shout_datagrams_received"
    ]
    return {sample.labels["family"]: sample.value for sample in family.samples}
