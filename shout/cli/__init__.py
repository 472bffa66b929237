"""
The commands C{shout}, which asks, and C{shoutping}, which measures.
"""
