"""
Several processes that answer at the same addresses: C{twistd shout --workers}.
"""
