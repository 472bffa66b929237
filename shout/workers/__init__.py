"""
Several processes that answer: C{twistd shout --workers}.
"""
