"""
How fast shout is, beside other servers that do the same.
"""
