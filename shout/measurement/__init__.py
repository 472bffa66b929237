"""
What C{shout --ping} and L{shout.ping} are made of.
"""
