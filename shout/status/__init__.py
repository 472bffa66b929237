"""
What a running service shows of itself: C{twistd shout --status}.
"""
