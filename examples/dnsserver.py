"""
A DNS server of Twisted on a port of shout: python examples/dnsserver.py [PORT]

It answers with the addresses in /etc/hosts.  Ask it from another terminal:

    dig +short -p 10053 @127.0.0.1 localhost
"""

import sys

from twisted.internet import reactor
from twisted.names.dns import DNSDatagramProtocol
from twisted.names.hosts import Resolver
from twisted.names.server import DNSServerFactory

from shout.udp import listenUDP

number = int(sys.argv[1]) if sys.argv[1:] else 10053
protocol = DNSDatagramProtocol(DNSServerFactory(clients=[Resolver()]))

# On Twisted's port: reactor.listenUDP(number, protocol, interface="127.0.0.1")
port = listenUDP(number, protocol, interface="127.0.0.1")

print(f"listening on {port.getHost().host}, port {port.getHost().port}", flush=True)
reactor.run()
