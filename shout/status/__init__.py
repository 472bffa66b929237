"""
The status of a running service: C{twistd shout --status}.
"""
